/* SPDX-License-Identifier: Apache-2.0 */
/* What hull-keeper answers on control.sock, and how the CLI starts one. Shared by both.
 *
 * A client connects to control.sock and speaks the wire (wire/wire.h) as its host side; the keeper is the guest
 * side. The services EXEC, DIAL, TAR_IN and TAR_OUT are relayed to the guest (the sandbox's env is put in front of an
 * exec's; an OPEN made before the guest is configured waits for it). The service KEEPER takes one JSON object and
 * answers with one, then EOF. Only the owner's uid and root may connect (SO_PEERCRED).
 *
 * Requests: {"do": "..."} ->
 *   status    {name, state, engine, accel, pid, cpus, memory_limit, memory, guest:{...stats}, docker, started,
 *              sessions, boot:{exec_ms, docker_ms}}     docker = starting | ready | failed | stopped | off |
 *              absent (the image has none)
 *   wait      {"for": "exec" | "docker"}: answers when that is so, or with an error when it can not come to be
 *   stop      {"grace_ms": n}: answers when the machine is off and everything of it is gone but the files
 *   kill      as stop without asking the guest
 *   job       {"argv": [...], "env": [...], "cwd": , "user": , "tty": false, "stdin": false}: start a
 *             detached job, whose stdin is empty, or with "stdin" what attached clients send; {"id": "..."} once
 *             its command runs; code ENOENT: no such command, ENOTDIR, EACCES, ESRCH...: it cannot be executed
 *   signal    {"job": ID, "signal": n}: to every process of a job; {"state": its state, "reached": the guest was told}.
 *             Of one that has ended in this run it reaches what it left behind
 *   ports     {"ports": [{"spec": "8080:80/tcp", "bound": ["127.0.0.1:8080", ...], "host": n} or with "error"]}
 *   policy    {"changed": "global" | "sandbox"}: read this file again, and answer when hull-egress has taken the policy
 *             or refused it; without "changed" at once. {"network": false} for a sandbox without one, else {"network",
 *             "taken": hull-egress has it, "closed": no file was ever good and everything is denied, "why": what is
 *             wrong with both together, "global": FILE, "sandbox": FILE}. FILE is what is in force of it: {"path",
 *             "digest" (SHA-256 of its text; none = no file), "text" if {"texts": true}, "error": why the file as it
 *             is now does not count, "watch": why it is not watched}
 *   publish   {"port": "[[IP:]HOST:]PORT[/proto]"}: answers as one of ports, or with an error; kept for the next start
 *   unpublish {"port": ...}
 *   jobs      {"jobs": [{id, argv, tty, stdin, session, state, exit, started}]}
 *   mount     {"path": PATH, "readonly": false}: mount it at the same path; answers {"path"} when it is there
 *   unmount   {"path": PATH, "force": false}
 *   save      {"dir": PATH, "end": false}: save the running machine (snapshot/snapshot.h) into this directory, which
 *             the caller made; with "end" the machine is off then. {"paused_ms", "memory_bytes"}
 *   pause     save its memory as sandboxes/NAME/frozen and end it: its state is "paused"
 *   resume    let a machine go on that stands still because the host's disk was full; {}
 *   grow      {"bytes": n}: make the disk larger and grow its file system; {} when that is done
 *   lease     never answered: when the connection it came on closes, the machine is killed. For whoever starts one that
 *             must not outlive them
 * The service ATTACH (NAME: the id of a running job) is the job's stream from now on, as EXEC has it; any number of
 * clients may have it, and the job waits for the slowest of them. Closing it leaves the job as it is.
 * Any failure: {"error": "one line", "code": positive errno}.
 *
 * Start: `hull-keeper NAME` with descriptor 3 a pipe. It takes the sandbox's lock, writes JSON lines to the pipe:
 *   {"stage": "starting the machine"}   for a person who waits
 *   {"ready": true}                     the machine runs and the control socket answers
 *   {"error": "...", "code": n}         it did not start
 * and closes it, unless HULL_KEEPER_LEASE is set. It has left the caller's session and terminal by then. */
#ifndef HULL_KEEPER_API_H
#define HULL_KEEPER_API_H

#define HULL_KEEPER_STATUS_FD 3
/* In its environment: the reader of the pipe holds it open for as long as the sandbox may run. When it is closed, the
 * machine is killed. */
#define HULL_KEEPER_LEASE   "HULL_KEEPER_LEASE"
#define HULL_CONTROL_SOCKET "control.sock"
#define HULL_DOCKER_SOCKET  "docker.sock"

#endif
