/* Running git. Its messages go into a file without a name and are read when it has ended, so that there is one pipe to
 * wait for and nothing can stall. */
#include "git/git.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGS_MAX = 64, WORDS_MAX = 64 * 1024 };

/* As `git rev-parse --local-env-vars` has them. */
static const char *const local_variables[] = {
	"GIT_ALTERNATE_OBJECT_DIRECTORIES",
	"GIT_CONFIG",
	"GIT_CONFIG_PARAMETERS",
	"GIT_CONFIG_COUNT",
	"GIT_OBJECT_DIRECTORY",
	"GIT_DIR",
	"GIT_WORK_TREE",
	"GIT_IMPLICIT_WORK_TREE",
	"GIT_GRAFT_FILE",
	"GIT_INDEX_FILE",
	"GIT_NO_REPLACE_OBJECTS",
	"GIT_REPLACE_REF_BASE",
	"GIT_PREFIX",
	"GIT_SHALLOW_FILE",
	"GIT_COMMON_DIR",
	"GIT_INTERNAL_SUPER_PREFIX",
	"GIT_NAMESPACE",
};

__attribute__((noreturn)) static void become(const char *dir, char *const *argv, int in, int out, int words)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	for (size_t i = 0; dir && i < sizeof(local_variables) / sizeof(*local_variables); i++)
		unsetenv(local_variables[i]);
	if (dir) {
		setenv("GIT_NO_REPLACE_OBJECTS", "1", 1);
		setenv("GIT_OPTIONAL_LOCKS", "0", 1);
		setenv("GIT_TERMINAL_PROMPT", "0", 1);
	}
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

/* What git said: its first "fatal:" or "error:", else its last line; made printable. */
static int complain(int words, int code, struct hull_error *err)
{
	_cleanup_free_ char *text = calloc(1, WORDS_MAX + 1);
	ssize_t n = text ? pread(words, text, WORDS_MAX, 0) : -1;
	const char *line = NULL;
	if (n > 0)
		text[n] = '\0';
	for (char *save = NULL, *l = n > 0 ? strtok_r(text, "\n", &save) : NULL; l; l = strtok_r(NULL, "\n", &save)) {
		line = l;
		if (hull_starts(l, "fatal: ") || hull_starts(l, "error: ")) {
			line += strlen("fatal: ");
			break;
		}
	}
	_cleanup_free_ char *shown = line ? hull_printable(line, strlen(line)) : NULL;
	hull_fail(err, -EIO, "%s", shown && *shown ? shown : "git failed");
	if (code == 127)
		return hull_fail(err, -ENOENT, "there is no git in PATH: install it");
	return code;
}

static int collect(int fd, struct hull_buf *out)
{
	for (;;) {
		uint8_t *at = out->len > HULL_GIT_OUT_MAX ? NULL : hull_buf_room(out, 64 * 1024);
		ssize_t n = at ? read(fd, at, 64 * 1024) : -1;
		if (n < 0 && at && errno == EINTR)
			continue;
		if (n <= 0)
			return at ? (n < 0 ? -errno : 0) : -EFBIG;
		hull_buf_added(out, (size_t)n);
	}
}

int hull_git_run(const char *dir, const char *const *args, int in_fd, struct hull_buf *out, int out_fd,
		 struct hull_error *err)
{
	char *argv[ARGS_MAX] = {(char *)"git"};
	size_t n = 1;
	if (dir) {
		/* A watcher that the repository's configuration asks for is not needed for one look. */
		static const char *const first[] = {"-c", "core.fsmonitor=false", "-C"};
		for (size_t i = 0; i < 3; i++)
			argv[n++] = (char *)(uintptr_t)first[i];
		argv[n++] = (char *)(uintptr_t)dir;
	}
	for (; *args; args++) {
		if (n == ARGS_MAX - 1)
			return hull_fail(err, -E2BIG, "too many arguments for git");
		argv[n++] = (char *)(uintptr_t)*args;
	}
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return hull_fail_errno(err, "pipe");
	_cleanup_close_ int ours = ends[0], theirs = ends[1];
	_cleanup_close_ int words = memfd_create("git", MFD_CLOEXEC);
	if (words < 0)
		return hull_fail_errno(err, "running git");
	fflush(NULL);
	pid_t pid = fork();
	if (pid < 0)
		return hull_fail_errno(err, "running git");
	if (pid == 0)
		become(dir, argv, in_fd, out ? theirs : out_fd >= 0 ? out_fd : words, words);
	close(hull_steal_fd(&theirs));
	int r = out ? collect(ours, out) : 0;
	close(hull_steal_fd(&ours));
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return hull_fail_errno(err, "waiting for git");
	if (r < 0)
		return hull_fail(err, r, "git: %s", strerror(-r));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return complain(words, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), err);
}
