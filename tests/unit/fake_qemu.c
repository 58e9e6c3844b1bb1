/* SPDX-License-Identifier: Apache-2.0 */
/* A stand-in for QEMU in the engine's tests: it takes QEMU's command line and behaves as the word after "fake=" in the
 * kernel command line says. It runs inside the jail, without environment or /proc. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int wire = -1, qmp = -1, serial = -1;
static const char *mode = "";
static int restoring; /* it was told to: stands still until cont, which does not end it */

static void parse(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		sscanf(argv[i], "socket,id=wire,fd=%d", &wire);
		sscanf(argv[i], "socket,id=qmp,fd=%d", &qmp);
		sscanf(argv[i], "socket,id=serial,fd=%d", &serial);
		if (!strcmp(argv[i], "-incoming")) {
			restoring = 1;
			mode = "good";
		}
		const char *at = strstr(argv[i], "fake=");
		if (at)
			mode = at + 5;
	}
}

static void say(int fd, const char *text)
{
	size_t n = strlen(text);
	while (n > 0) {
		ssize_t w = write(fd, text, n);
		if (w <= 0)
			_exit(9);
		text += w;
		n -= (size_t)w;
	}
}

static void greet(const char *version)
{
	char text[256];
	snprintf(text, sizeof(text),
		 "{\"QMP\": {\"version\": {\"qemu\": %s, \"package\": \"\"}, \"capabilities\": []}}\r\n", version);
	say(qmp, text);
}

/* Answer commands until power-off. */
static int serve(void)
{
	char line[512], answer[600], byte;
	size_t n = 0;
	while (read(qmp, &byte, 1) == 1) {
		if (byte != '\n') {
			if (n < sizeof(line) - 1)
				line[n++] = byte;
			continue;
		}
		line[n] = '\0';
		n = 0;
		const char *id = strstr(line, "\"id\": ");
		snprintf(answer, sizeof(answer), "{\"return\": {%s}, \"id\": %d}\r\n",
			 strstr(line, "query-status") ? "\"status\": \"inmigrate\"" : "", id ? atoi(id + 6) : -1);
		say(qmp, answer);
		if (strstr(line, "qmp_capabilities")) {
			say(wire, "hello");
		} else if (strstr(line, "\"stop\"")) {
			say(qmp, "{\"event\": \"STOP\", \"timestamp\": {}}\r\n");
		} else if (strstr(line, "query-status")) {
			say(qmp, "{\"event\": \"MIGRATION\", \"data\": {\"status\": \"active\"}}\r\n"
				 "{\"event\": \"MIGRATION\", \"data\": {\"status\": \"completed\"}}\r\n");
		} else if (strstr(line, "job-cancel")) {
			say(qmp, "{\"event\": \"JOB_STATUS_CHANGE\", \"data\": {\"status\": \"aborting\", \"id\": "
				 "\"keep\"}}\r\n"
				 "{\"event\": \"JOB_STATUS_CHANGE\", \"data\": {\"status\": \"null\", \"id\": "
				 "\"keep\"}}\r\n");
		} else if (restoring && strstr(line, "\"cont\"")) {
			say(qmp, "{\"event\": \"RESUME\"}\r\n");
		} else if (strstr(line, "\"cont\"")) {
			char back[6] = {0};
			say(qmp, "{\"event\": \"BLOCK_IO_ERROR\", \"data\": {\"nospace\": true, \"action\": \"stop\","
				 " \"operation\": \"write\", \"reason\": \"No space left on device\"}}\r\n"
				 "{\"event\": \"RESUME\"}\r\n");
			if (read(wire, back, 5) != 5 || strcmp(back, "howdy") != 0)
				return 8;
			say(qmp, "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": "
				 "\"guest-shutdown\"}}\r\n");
			return 0;
		}
	}
	return 7;
}

static int flood(void)
{
	char line[1024];
	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 2] = '\n';
	line[sizeof(line) - 1] = '\0';
	for (int i = 0; i < 10 * 1024; i++)
		say(serial, line);
	say(serial, "[    1.0] Kernel panic - not syncing: no \033[31mroot\r\nlast line\n");
	return 0;
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	if (argc == 2 && !strcmp(argv[1], "--version"))
		return puts("Fake QEMU emulator version 10.1.3") < 0;
	if (!strcmp(mode, "dies")) {
		fprintf(stderr, "fake: first line\nfake: cannot find the \033[1mthing\n");
		return 3;
	}
	if (!strcmp(mode, "garbage"))
		say(qmp, "{\"QMP\": 12}\n");
	if (!strcmp(mode, "endless"))
		for (;;)
			say(qmp, "[[[[[[[[[[[[[[[[");
	if (!strcmp(mode, "old"))
		greet("{\"micro\": 1, \"minor\": 2, \"major\": 5}");
	if (!strcmp(mode, "crash")) {
		fprintf(stderr, "fake: about to crash\n");
		__builtin_trap();
	}
	if (!strcmp(mode, "flood"))
		return flood();
	if (!strcmp(mode, "good")) {
		greet("{\"micro\": 3, \"minor\": 1, \"major\": 10}");
		return serve();
	}
	/* "hang", and what comes after saying something bad */
	for (;;)
		pause();
}
