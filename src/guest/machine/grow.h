/* Growing the sandbox's file system while the guest runs; see grow.c. */
#ifndef HULL_GUEST_GROW_H
#define HULL_GUEST_GROW_H

#include <stdint.h>

/* The disk is, or is about to be, this large: grow its file system. The answer goes out by hull_control_grown(). */
void hull_grow_begin(uint64_t bytes);

/* control.c: GROWN. error is a positive errno or 0, text may be empty. */
void hull_control_grown(int error, const char *text);

#endif
