/* Running git, in its jail (jail.c) or as it is, and taking what it writes: its output up to a limit, and of its
 * messages (through git-remote-hull they may be a guest's) the first 64 KiB; the rest is thrown away. */
#include "git/internal.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGS_MAX = 64, WORDS_MAX = 64 * 1024 };

/* git as it is, for git-remote-hull: where and with what environment git has called us. */
__attribute__((noreturn)) static void become(char *const *argv, int in, int out, int words, uint64_t memory)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	struct rlimit limit = {memory, memory};
	setrlimit(RLIMIT_DATA, &limit);
	/* Above the numbers they are copied to. */
	in = in < 0 ? open("/dev/null", O_RDONLY) : in;
	in = fcntl(in, F_DUPFD, 10);
	out = fcntl(out, F_DUPFD, 10);
	words = fcntl(words, F_DUPFD, 10);
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(words, 2) < 0)
		_exit(126);
	close_range(3, ~0U, 0);
	execvp(argv[0], argv);
	if (errno == ENOENT)
		dprintf(2, "there is no git in PATH: install it\n");
	_exit(127);
}

/* What has been read of one of git's outputs. */
struct taken {
	int fd;
	struct hull_buf *into; /* NULL = nobody wants it */
	size_t most;
	bool cut; /* there was more, which is thrown away */
};

/* Read once; closes the descriptor at its end. 0 or -errno. */
static int take(struct taken *t)
{
	uint8_t lost[4096];
	size_t room = t->into && t->into->len < t->most ? t->most - t->into->len : 0;
	size_t want = room ? (room < 64 * 1024 ? room : 64 * 1024) : sizeof(lost);
	uint8_t *at = room ? hull_buf_room(t->into, want) : lost;
	ssize_t n = at ? read(t->fd, at, want) : -1;
	if (n < 0)
		return !at ? -ENOMEM : errno == EINTR || errno == EAGAIN ? 0 : -errno;
	if (n == 0)
		close(hull_steal_fd(&t->fd));
	else if (room)
		hull_buf_added(t->into, (size_t)n);
	else
		t->cut = true;
	return 0;
}

/* Until git has ended and what it wrote is read; what only a stray child of its could write is not waited for. An
 * output of more than may be taken ends it. */
static int watch(struct taken *out, struct taken *words, int pidfd)
{
	int r = 0;
	bool ended = false;
	while (r == 0 && !out->cut && (!ended || out->fd >= 0 || words->fd >= 0)) {
		struct pollfd p[3] = {{.fd = out->fd, .events = POLLIN},
				      {.fd = words->fd, .events = POLLIN},
				      {.fd = ended ? -1 : pidfd, .events = POLLIN}};
		int n = poll(p, 3, ended ? 0 : -1);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			break;
		if (n < 0)
			continue;
		ended = ended || p[2].revents;
		if (p[0].revents)
			r = take(out);
		if (r == 0 && p[1].revents)
			r = take(words);
	}
	return r == 0 && out->cut ? -EFBIG : r;
}

/* What git said: its first "fatal:" or "error:", else its last line; made printable. */
static int complain(struct hull_buf *words, bool cut, int code, struct hull_error *err)
{
	if (code == 127)
		return hull_fail(err, -ENOENT, "there is no git in PATH: install it");
	const char *line = NULL;
	char *text = hull_buf_add(words, "", 1) == 0 ? (char *)hull_buf_bytes(words) : NULL;
	bool memory = text && strcasestr(text, "out of memory");
	for (char *save = NULL, *l = text ? strtok_r(text, "\n", &save) : NULL; l; l = strtok_r(NULL, "\n", &save)) {
		line = l;
		if (hull_starts(l, "fatal: ") || hull_starts(l, "error: ")) {
			line += strlen("fatal: ");
			break;
		}
	}
	_cleanup_free_ char *shown = line ? hull_printable(line, strlen(line)) : NULL;
	hull_fail(err, -EIO, "%s%.700s%s", memory ? "it is more than git may have memory for: " : "",
		  shown && *shown ? shown : "git failed", cut ? " (it went on saying more than is kept)" : "");
	return code;
}

/* Started already: wait for it. Takes over `pidfd` and the reading ends. `end` is the signal that ends it early. */
static int finish(pid_t pid, int pidfd, int end, int out_fd, struct hull_buf *out, int words_fd, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf said = {0};
	struct taken from = {.fd = out_fd, .into = out, .most = HULL_GIT_OUT_MAX};
	struct taken words = {.fd = words_fd, .into = &said, .most = WORDS_MAX};
	int status, r = watch(&from, &words, pidfd);
	hull_closep(&from.fd);
	hull_closep(&words.fd);
	close(pidfd);
	if (r < 0)
		kill(pid, end);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return hull_fail_errno(err, "waiting for git");
	if (r == -EFBIG)
		return hull_fail(err, r, "git has more to say than the %d MiB that are taken of it",
				 HULL_GIT_OUT_MAX >> 20);
	if (r < 0)
		return hull_fail(err, r, "git: %s", strerror(-r));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return complain(&said, words.cut, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), err);
}

struct pipes {
	int out[2], words[2];
};

static void pipes_close(struct pipes *p)
{
	for (int i = 0; i < 2; i++) {
		hull_closep(&p->out[i]);
		hull_closep(&p->words[i]);
	}
}

static int pipes_open(struct pipes *p, struct hull_error *err)
{
	if (pipe2(p->out, O_CLOEXEC) < 0 || pipe2(p->words, O_CLOEXEC) < 0)
		return hull_fail_errno(err, "running git");
	fcntl(p->out[0], F_SETFL, O_NONBLOCK);
	fcntl(p->words[0], F_SETFL, O_NONBLOCK);
	return 0;
}

static int run_jailed(const char *dir, bool writes, const char *const *args, int in_fd, struct hull_buf *out,
		      int out_fd, struct hull_error *err)
{
	_cleanup_(pipes_close) struct pipes p = {{-1, -1}, {-1, -1}};
	pid_t pid;
	int pidfd, r = pipes_open(&p, err);
	if (r == 0)
		r = hull_git_start(dir, writes, args, in_fd, out || out_fd < 0 ? p.out[1] : out_fd, p.words[1], &pid,
				   &pidfd, err);
	if (r < 0)
		return r;
	hull_closep(&p.out[1]);
	hull_closep(&p.words[1]);
	p.out[1] = p.words[1] = -1;
	struct hull_buf none = {0};
	/* Init of its pid namespace, which no other signal reaches. */
	r = finish(pid, pidfd, SIGKILL, hull_steal_fd(&p.out[0]), out ? out : &none, hull_steal_fd(&p.words[0]), err);
	hull_buf_free(&none);
	return r;
}

int hull_git_run(const char *dir, const char *const *args, int in_fd, struct hull_buf *out, int out_fd,
		 struct hull_error *err)
{
	return run_jailed(dir, false, args, in_fd, out, out_fd, err);
}

int hull_git_change(const char *dir, const char *const *args, int in_fd, struct hull_error *err)
{
	return run_jailed(dir, true, args, in_fd, NULL, -1, err);
}

int hull_git_run_here(const char *const *args, int in_fd, struct hull_buf *out, uint64_t memory, struct hull_error *err)
{
	_cleanup_(pipes_close) struct pipes p = {{-1, -1}, {-1, -1}};
	char *argv[ARGS_MAX] = {(char *)"git"};
	size_t n = 1;
	for (; *args; args++) {
		if (n == ARGS_MAX - 1)
			return hull_fail(err, -E2BIG, "too many arguments for git");
		argv[n++] = (char *)(uintptr_t)*args;
	}
	int r = pipes_open(&p, err);
	if (r < 0)
		return r;
	fflush(NULL);
	pid_t pid = fork();
	if (pid < 0)
		return hull_fail_errno(err, "running git");
	if (pid == 0)
		become(argv, in_fd, p.out[1], p.words[1], memory);
	int pidfd = pidfd_open(pid, 0);
	if (pidfd < 0) {
		r = hull_fail_errno(err, "watching git");
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return r;
	}
	hull_closep(&p.out[1]);
	hull_closep(&p.words[1]);
	p.out[1] = p.words[1] = -1;
	return finish(pid, pidfd, SIGTERM, hull_steal_fd(&p.out[0]), out, hull_steal_fd(&p.words[0]), err);
}
