/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper against a guest, and a client, that send whatever the input says.
 *
 * One keeper for the whole run, without a machine; each input gets a fresh guest wire, one client and one connection
 * to docker.sock. The guest's HELLO is answered properly (the wire has fuzzers of its own), then the input is a list
 * of operations on the three. Afterwards everything is closed, and the keeper must hold nothing any more. */
#include "keeper/life/life.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "wire/args.h"
#include "wire/service.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define MUST(x)                                                                           \
	do {                                                                              \
		if (!(x)) {                                                               \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #x); \
			abort();                                                          \
		}                                                                         \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct keeper k;
static char dir[64];
static int guest_fd, guest_wire_fd, client_fd, docker_fd;
static struct hull_wire *client;
static uint32_t streams[8];
static bool killed;

static void fake_kill(struct keeper *unused)
{
	killed = true;
}
static int fake_memory(struct keeper *unused, uint64_t *bytes)
{
	return -ESRCH;
}
static const char *fake_text(struct keeper *unused)
{
	return "fake";
}
static pid_t fake_pid(struct keeper *unused)
{
	return 1;
}
static const struct machine_ops FAKE = {
	.kill = fake_kill,
	.memory = fake_memory,
	.describe = fake_text,
	.accel = fake_text,
	.pid = fake_pid,
	.close = fake_kill,
};

static void clean_up(void)
{
	hull_remove_tree(AT_FDCWD, dir, NULL);
}

static void set_up(void)
{
	/* In memory where that is possible: the keeper fsyncs what it keeps. */
	strcpy(dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/hull-fuzz.XXXXXX" : "/tmp/hull-fuzz.XXXXXX");
	MUST(mkdtemp(dir));
	atexit(clean_up);
	k.paths = (struct hull_paths){.home = strdup(dir), .runtime = strdup(dir), .config = strdup(dir)};
	_cleanup_free_ char *box = hull_fmt("%s/sandboxes/box/jobs", dir);
	MUST(hull_mkdir_all(box, 0700, NULL) == 0);
	k.sb = (struct hull_sandbox){
		.name = strdup("box"),
		.agent = strdup("shell"),
		.image = strdup("abc"),
		.cpus = 1,
		.memory = 1 << 30,
		.disk = 1 << 30,
		.engine = strdup("auto"),
		.env = hull_strv_copy((char *[]){(char *)"A=1", NULL}),
		.paths = hull_strv_copy(NULL),
		.state = strdup("starting"),
	};
	k.machine_ops = &FAKE;
	struct hull_error err;
	MUST(keeper_init(&k, &err) == 0);
	hull_log_open(open("/dev/null", O_WRONLY | O_CLOEXEC), "fuzz");
}

static void turn(int times)
{
	while (times-- > 0)
		uv_run(&k.loop.uv, UV_RUN_NOWAIT);
}

static void pair(int *mine, int *theirs)
{
	int fds[2];
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
	*mine = fds[0];
	*theirs = fds[1];
}

static void put(int fd, const void *p, size_t n)
{
	(void)!send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void drain(int fd)
{
	static char bytes[65536];
	while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
}

static void client_step(void)
{
	static uint8_t bytes[65536];
	const uint8_t *o;
	for (size_t n = hull_wire_output(client, &o); n > 0; n = hull_wire_output(client, &o)) {
		ssize_t s = send(client_fd, o, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (s <= 0)
			break;
		hull_wire_sent(client, (size_t)s);
	}
	ssize_t n = recv(client_fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	struct hull_error err;
	/* Whatever the guest does, what the keeper says to its clients is well-formed. */
	if (n > 0)
		MUST(hull_wire_feed(client, bytes, (size_t)n, &err) == 0 || err.code == -EPIPE);
}

/* A frame from the guest. */
static void frame(uint32_t stream, uint8_t type, uint8_t flags, const uint8_t *p, size_t n)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	uint8_t kinds[2] = {type, flags};
	hull_buf_le32(&b, stream);
	hull_buf_add(&b, kinds, 2);
	hull_buf_le16(&b, 0);
	hull_buf_le32(&b, (uint32_t)n);
	hull_buf_add(&b, p, n);
	put(guest_fd, hull_buf_bytes(&b), b.len);
}

static void client_opens(uint8_t which, const uint8_t *p, size_t n)
{
	static const char *const requests[] = {"{\"do\":\"status\"}", "{\"do\":\"wait\",\"for\":\"docker\"}",
					       "{\"do\":\"job\",\"argv\":[\"x\"]}", "{\"do\":\"jobs\"}"};
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	uint32_t *slot = &streams[which % 8];
	switch (which % 3) {
	case 0:
		hull_args_put_str(&b, HULL_TAG_ARGV, "x");
		hull_wire_open(client, HULL_SVC_EXEC, hull_buf_bytes(&b), b.len, NULL, slot);
		break;
	case 1:
		hull_args_put_str(&b, HULL_TAG_JSON, requests[which / 3 % 4]);
		hull_wire_open(client, HULL_SVC_KEEPER, hull_buf_bytes(&b), b.len, NULL, slot);
		break;
	default:
		hull_wire_open(client, n ? p[0] : 0, p, n, NULL, slot);
	}
}

static void operate(struct hull_cur *in)
{
	uint8_t op = hull_cur_u8(in);
	uint8_t a = hull_cur_u8(in);
	size_t n = hull_cur_u8(in);
	if (n > hull_cur_left(in))
		n = hull_cur_left(in);
	const uint8_t *p = hull_cur_take(in, n);
	uint32_t stream = 1 + 2 * (uint32_t)(op >> 4);
	switch (op & 15) {
	case 0: /* on the control stream */
		frame(1, HULL_WIRE_MESSAGE, 0, p, n);
		break;
	case 1:
	case 2:
	case 3:
		frame(stream, a & 15, a >> 4, p, n);
		break;
	case 4:
		put(guest_fd, p, n);
		break;
	case 5:
		client_opens(a, p, n);
		break;
	case 6:
		hull_wire_write(client, streams[a % 8], 0, p, n);
		break;
	case 7:
		hull_wire_eof(client, streams[a % 8]);
		break;
	case 8:
		hull_wire_reset(client, streams[a % 8], a, "x");
		break;
	case 9:
		hull_wire_grant(client, streams[a % 8], n * 100);
		break;
	case 10:
		put(docker_fd, p, n);
		break;
	case 11:
		drain(docker_fd);
		break;
	case 12:
		shutdown(docker_fd, a & 1 ? SHUT_WR : SHUT_RDWR);
		break;
	case 13:
		shutdown(client_fd, SHUT_RDWR);
		break;
	default:
		break;
	}
	client_step();
	turn(1 + (a & 1));
	if (a & 2)
		drain(guest_fd);
}

static void begin(void)
{
	struct hull_error err;
	int fd;
	pair(&guest_fd, &guest_wire_fd);
	MUST(guest_open(&k, guest_wire_fd, &err) == 0);
	turn(2);
	uint8_t hello[32];
	MUST(recv(guest_fd, hello, sizeof(hello), 0) == 32);
	put(guest_fd, hello, sizeof(hello)); /* HELLO is answered with the same */
	turn(2);
	frame(1, HULL_WIRE_ACCEPT, 0, NULL, 0);
	pair(&client_fd, &fd);
	client_accepted(&k, fd);
	struct hull_wire_config config = {.side = HULL_WIRE_HOST};
	static const struct hull_wire_ops none;
	client = hull_wire_new(&config, &none, NULL);
	MUST(client && hull_wire_hello(client, 1) == 0);
	pair(&docker_fd, &fd);
	docker_accepted(&k, fd);
}

static void end(void)
{
	clients_close(&k);
	docker_close(&k);
	jobs_close(&k);
	guest_close(&k);
	turn(3);
	MUST(k.relays->count == 0 && k.relays->pending_bytes == 0 && k.service->waiter_count == 0 &&
	     k.docker->count == 0 && k.jobs->count == 0 && k.relays->exec_count == 0 && k.clients->count == 0);
	uv_timer_stop(&k.life.timer);
	uv_timer_stop(&k.service->stats_timer);
	hull_wire_free(client);
	close(guest_fd);
	close(guest_wire_fd);
	close(client_fd);
	close(docker_fd);
	logfile_close(&k.dockerlog->file);
	memset(k.guest, 0, sizeof(*k.guest));
	memset(streams, 0, sizeof(streams));
	k.life.phase = PHASE_STARTING;
	k.life.killed = k.life.stop_asked = k.loop.corked = k.life.save_due = killed = false;
	k.life.end_reason[0] = '\0';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!dir[0])
		set_up();
	struct hull_cur in = hull_cur_make(data, size);
	begin();
	for (int i = 0; i < 64 && hull_cur_left(&in) > 0; i++)
		operate(&in);
	turn(3);
	end();
	return 0;
}
