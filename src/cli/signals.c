/* SPDX-License-Identifier: Apache-2.0 */
/* Signals as events of the poll loop, through one signalfd. Children get back the signal mask and dispositions that the
 * process started with. */
#include "cli/signals.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static int signals = -1;
static int ended;
static sigset_t before;

int cli_signals_catch(void)
{
	if (signals >= 0)
		return signals;
	static const int ours[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGWINCH, SIGCONT};
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
		struct sigaction sa;
		/* nohup, or a shell's background job: what was ignored stays ignored */
		if (ours[i] != SIGWINCH && ours[i] != SIGCONT && sigaction(ours[i], NULL, &sa) == 0 &&
		    sa.sa_handler == SIG_IGN)
			continue;
		sigaddset(&set, ours[i]);
	}
	if (sigprocmask(SIG_BLOCK, &set, &before) < 0)
		return -errno;
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0) {
		int code = -errno;
		sigprocmask(SIG_SETMASK, &before, NULL);
		return code;
	}
	signal(SIGPIPE, SIG_IGN);
	return signals;
}

int cli_signals_fd(void)
{
	return signals;
}

int cli_signals_read(void)
{
	struct signalfd_siginfo si;
	if (signals < 0 || read(signals, &si, sizeof si) != (ssize_t)sizeof si)
		return 0;
	int n = (int)si.ssi_signo;
	if (!ended && (n == SIGINT || n == SIGTERM || n == SIGQUIT || n == SIGHUP))
		ended = n;
	return n;
}

int cli_signals_ended(void)
{
	return ended;
}

int cli_signals_code(int r)
{
	return r == -EINTR && ended ? 128 + ended : r;
}

void cli_signals_child(void)
{
	if (signals < 0)
		return;
	sigprocmask(SIG_SETMASK, &before, NULL);
	signal(SIGPIPE, SIG_DFL);
}
