/* What makes a sandbox the person's own, as CONFIGURE says: see person.c. */
#ifndef HULL_GUEST_PERSON_H
#define HULL_GUEST_PERSON_H

/* The name and email of git, in /etc/gitconfig; either may be NULL. */
void hull_person_git(const char *name, const char *email);
/* A symlink to an absolute target, and the directories it lies in, if there is nothing at `link` yet. */
void hull_person_link(const char *link, const char *target);

#endif
