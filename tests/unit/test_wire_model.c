/* SPDX-License-Identifier: Apache-2.0 */
/* The wire against a model: two ends do random things for thousands of steps, bytes travel in random pieces and
 * stall, and all the while a plain model knows what must be true.
 *
 * The model. Byte number i that a side sends on a stream is a function of (stream, side, channel, i), so the receiver
 * checks every byte without a copy of it: data arrives in order, complete per channel, none twice. Messages carry
 * their number. At EOF the receiver must have had exactly what the sender had written. Credit never goes past the
 * window, in any direction; output never past the queue's limit. In the end all streams are ended and both ends must
 * have none left, each closed once.
 *
 * Seeds are fixed; HULL_TEST_SEED=N runs that one alone. */
#include "wire/internal.h"
#include "wire_rig.h"

enum { SLOTS = 4096, CHANNELS = 2, STEPS = 6000 };

/* One direction of one stream, shared between sender and receiver: the model. */
struct way {
	uint64_t sent[CHANNELS];
	uint64_t got[CHANNELS];
	uint32_t messages_sent;
	uint32_t messages_got;
	bool eof_sent;
	bool eof_got;
};

struct pair_stream {
	uint32_t id;
	unsigned opener;   /* 0 host, 1 guest */
	struct way way[2]; /* by sender */
	bool announced;
	bool closed[2];
	bool reset;       /* by either side, or refused: data may be missing */
	uint64_t held[2]; /* received and not granted yet, by receiver */
};

struct side {
	struct hull_wire *w;
	unsigned index;
	struct model *m;
	bool sends_output;
	size_t unsent; /* bytes that travel already and were not reported as sent: an asynchronous writer */
};

struct model {
	uint64_t random;
	struct side side[2];
	struct pair_stream *streams; /* SLOTS of them */
	size_t count;
	struct hull_buf travelling[2]; /* bytes on their way, by sender */
	uint64_t checked;
	unsigned epoch;
	unsigned ended;
	bool finishing; /* readers grant all at once, nobody begins anything */
};

static uint64_t roll(struct model *m)
{
	m->random ^= m->random << 13;
	m->random ^= m->random >> 7;
	m->random ^= m->random << 17;
	return m->random;
}
static size_t below(struct model *m, size_t n)
{
	return n ? roll(m) % n : 0;
}

static uint8_t byte_of(uint32_t id, unsigned from, unsigned channel, uint64_t i)
{
	return (uint8_t)(id * 31 + from * 101 + channel * 57 + i + (i >> 8) * 7);
}

static struct pair_stream *find(struct model *m, uint32_t id)
{
	for (size_t i = m->count; i > 0; i--)
		if (m->streams[i - 1].id == id)
			return &m->streams[i - 1];
	return NULL;
}

static struct pair_stream *begin(struct model *m, uint32_t id, unsigned opener)
{
	assert_true(m->count < SLOTS);
	struct pair_stream *s = &m->streams[m->count++];
	*s = (struct pair_stream){.id = id, .opener = opener};
	return s;
}

/* --- events --- */

static void consume(struct side *me, struct pair_stream *s)
{
	if (s->held[me->index] == 0)
		return;
	size_t n = me->m->finishing ? s->held[me->index] : below(me->m, s->held[me->index]) + 1;
	assert_int_equal(hull_wire_grant(me->w, s->id, n), 0);
	s->held[me->index] -= n;
}

static void on_open(void *ctx, uint32_t id, uint8_t service, const uint8_t *args, size_t len)
{
	struct side *me = ctx;
	struct pair_stream *s = find(me->m, id);
	assert_non_null(s);
	assert_int_equal(s->opener, !me->index);
	assert_false(s->announced);
	assert_int_equal(service, id % 200);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(args[i], byte_of(id, s->opener, 9, i));
	s->announced = true;
	hull_wire_set_user(me->w, id, s);
	if (below(me->m, 10) == 0) {
		s->reset = true;
		assert_int_equal(hull_wire_refuse(me->w, id, ECONNREFUSED, "not today"), 0);
	} else if (below(me->m, 3) || me->m->finishing) {
		assert_int_equal(hull_wire_accept(me->w, id, "yes", 3), 0);
	}
}

static void on_data(void *ctx, uint32_t id, void *user, unsigned channel, const uint8_t *p, size_t n)
{
	struct side *me = ctx;
	struct pair_stream *s = user;
	struct way *way = &s->way[!me->index];
	assert_int_equal(s->id, id);
	assert_in_range(channel, 0, CHANNELS - 1);
	for (size_t i = 0; i < n; i++)
		if (p[i] != byte_of(id, !me->index, channel, way->got[channel] + i))
			fail_msg("stream %u byte %llu is wrong", id, (unsigned long long)(way->got[channel] + i));
	way->got[channel] += n;
	assert_true(way->got[channel] <= way->sent[channel]);
	assert_false(way->eof_got);
	me->m->checked += n;
	s->held[me->index] += n;
	assert_true(s->held[me->index] <= HULL_WIRE_WINDOW);
	if (below(me->m, 400) == 0) {
		s->reset = true;
		assert_int_equal(hull_wire_reset(me->w, id, EPIPE, "enough"), 0);
	} else if (below(me->m, 2) || me->m->finishing) {
		consume(me, s);
	}
}

static void on_message(void *ctx, uint32_t id, void *user, const uint8_t *p, size_t n)
{
	struct side *me = ctx;
	struct pair_stream *s = user;
	struct way *way = &s->way[!me->index];
	uint32_t number;
	assert_int_equal(n, sizeof(number));
	memcpy(&number, p, sizeof(number));
	assert_int_equal(number, way->messages_got++);
	assert_false(way->eof_got);
}

static void write_some(struct side *me, struct pair_stream *s, size_t n)
{
	static uint8_t bytes[2 * HULL_WIRE_WINDOW];
	unsigned channel = (unsigned)below(me->m, CHANNELS);
	struct way *way = &s->way[me->index];
	if (n > sizeof(bytes))
		n = sizeof(bytes);
	for (size_t i = 0; i < n; i++)
		bytes[i] = byte_of(s->id, me->index, channel, way->sent[channel] + i);
	if (below(me->m, 8) == 0) {
		int r = hull_wire_relay(me->w, s->id, channel, bytes, n);
		if (r == 0)
			way->sent[channel] += n;
		else
			assert_true(r == -EAGAIN || r == -ENOTCONN);
		return;
	}
	ssize_t took = hull_wire_write(me->w, s->id, channel, bytes, n);
	if (took > 0)
		way->sent[channel] += (size_t)took;
	else
		assert_true(took == 0 || took == -ENOTCONN);
}

static void on_writable(void *ctx, uint32_t id, void *user)
{
	struct side *me = ctx;
	struct pair_stream *s = user;
	assert_int_equal(s->id, id);
	assert_false(s->way[me->index].eof_sent);
	assert_true(hull_wire_writable(me->w, id) > 0);
	if (!me->m->finishing)
		write_some(me, s, below(me->m, 100000));
}

static void on_eof(void *ctx, uint32_t id, void *user)
{
	struct side *me = ctx;
	struct pair_stream *s = user;
	struct way *way = &s->way[!me->index];
	assert_true(way->eof_sent);
	assert_false(way->eof_got);
	way->eof_got = true;
	for (unsigned c = 0; c < CHANNELS; c++)
		assert_int_equal(way->got[c], way->sent[c]);
	assert_int_equal(way->messages_got, way->messages_sent);
	if (below(me->m, 4) == 0 && hull_wire_eof(me->w, id) == 0)
		s->way[me->index].eof_sent = true;
}

static void on_closed(void *ctx, uint32_t id, void *user, int code, const char *message)
{
	struct side *me = ctx;
	struct pair_stream *s = user;
	assert_non_null(message);
	assert_non_null(s);
	assert_int_equal(s->id, id);
	assert_false(s->closed[me->index]);
	s->closed[me->index] = true;
	me->m->ended++;
	if (code == 0)
		assert_true(s->way[!me->index].eof_got);
	else if (code != -ECONNRESET)
		assert_true(s->reset);
}

static void on_output(void *ctx)
{
	((struct side *)ctx)->sends_output = true;
}

static const struct hull_wire_ops model_ops = {
	.open = on_open,
	.data = on_data,
	.message = on_message,
	.writable = on_writable,
	.eof = on_eof,
	.closed = on_closed,
	.output = on_output,
};

/* --- steps --- */

static struct pair_stream *some_stream(struct side *me)
{
	struct model *m = me->m;
	for (unsigned tries = 0; tries < 8 && m->count; tries++) {
		struct pair_stream *s = &m->streams[m->count - 1 - below(m, m->count < 40 ? m->count : 40)];
		if (!s->closed[me->index] && (s->opener == me->index || s->announced))
			return s;
	}
	return NULL;
}

static void begin_stream(struct side *me)
{
	struct model *m = me->m;
	static uint8_t args[100000];
	uint32_t id = (uint32_t)me->w->next_id;
	size_t len = below(m, 4) ? below(m, 50) : below(m, sizeof(args));
	if (m->count == SLOTS || hull_wire_streams(me->w) > 60)
		return;
	for (size_t i = 0; i < len; i++)
		args[i] = byte_of(id, me->index, 9, i);
	struct pair_stream *s = begin(m, id, me->index);
	uint32_t got = 0;
	int r = hull_wire_open(me->w, (uint8_t)(id % 200), args, len, s, &got);
	if (r < 0) {
		assert_int_equal(r, -ENOTCONN); /* the guest, before HELLO */
		m->count--;
		return;
	}
	assert_int_equal(got, id);
}

/* The pieces that a transport would make of it, some of the time none. */
static void carry(struct model *m, unsigned from)
{
	struct side *me = &m->side[from];
	struct hull_buf *b = &m->travelling[from];
	const uint8_t *p;
	if (me->unsent) {
		hull_wire_sent(me->w, me->unsent);
		me->unsent = 0;
	}
	size_t n = hull_wire_output(me->w, &p);
	assert_true(n == 0 || me->sends_output); /* whoever waits for the event is not left waiting */
	if (n > 0 && b->len < 200000) {
		size_t part = below(m, n < 100000 ? n : 100000) + 1;
		assert_int_equal(hull_buf_add(b, p, part), 0);
		if (below(m, 2))
			hull_wire_sent(me->w, part);
		else
			me->unsent = part;
	}
	if (me->unsent == 0 && hull_wire_output(me->w, &p) == 0)
		me->sends_output = false;
	while (b->len && below(m, 4)) {
		size_t part = below(m, below(m, 3) ? 3000 : 13) + 1;
		struct hull_error err = {0};
		if (part > b->len)
			part = b->len;
		if (hull_wire_feed(m->side[!from].w, hull_buf_bytes(b), part, &err) < 0)
			fail_msg("%s", err.msg);
		hull_buf_drain(b, part);
	}
}

static void check_bounds(struct side *me)
{
	struct hull_wire *w = me->w;
	assert_true(w->out_control + w->out_open <= w->out.len);
	assert_true(w->out_control < 1 << 20);
	for (size_t i = 0; w->table.buckets && i < (size_t)1 << w->table.bits; i++)
		for (struct stream *s = w->table.buckets[i]; s; s = s->chain) {
			assert_true(s->send_credit <= HULL_WIRE_WINDOW);
			assert_true(s->recv_credit + s->grant <= HULL_WIRE_WINDOW);
		}
}

static void act(struct side *me, struct pair_stream *s)
{
	struct model *m = me->m;
	struct way *way = &s->way[me->index];
	size_t what = below(m, 100);
	if (what < 40 && !way->eof_sent) {
		write_some(me, s, below(m, 5) ? below(m, 2000) : below(m, 400000));
	} else if (what < 50 && !way->eof_sent) {
		if (hull_wire_message(me->w, s->id, &way->messages_sent, sizeof(way->messages_sent)) == 0)
			way->messages_sent++;
	} else if (what < 85) {
		consume(me, s);
	} else if (what < 90) {
		if (s->opener != me->index)
			hull_wire_accept(me->w, s->id, NULL, 0); /* late; or again, which is refused */
	} else if (what < 96) {
		way->eof_sent = true; /* first: closed is called from inside */
		if (hull_wire_eof(me->w, s->id) == -ENOTCONN)
			way->eof_sent = false;
	} else if (what < 98) {
		s->reset = true;
		assert_int_equal(hull_wire_reset(me->w, s->id, ECANCELED, "changed my mind"), 0);
	}
}

static void step(struct model *m)
{
	unsigned index = (unsigned)below(m, 2);
	struct side *me = &m->side[index];
	size_t what = below(m, 100);
	if (what < 8) {
		begin_stream(me);
	} else if (what < 60) {
		struct pair_stream *s = some_stream(me);
		if (s)
			act(me, s);
	} else {
		carry(m, index);
	}
	if (below(m, 1500) == 0)
		assert_int_equal(hull_wire_hello(m->side[0].w, ++m->epoch), 0);
	check_bounds(&m->side[0]);
	check_bounds(&m->side[1]);
}

/* Whatever is open ends in order, with all its data. */
static void finish(struct model *m)
{
	m->finishing = true;
	for (unsigned round = 0; round < 100000; round++) {
		bool idle = true;
		for (unsigned i = 0; i < 2; i++) {
			carry(m, i);
			idle &= m->travelling[i].len == 0 && !m->side[i].sends_output;
		}
		if (!idle)
			continue;
		if (hull_wire_streams(m->side[0].w) + hull_wire_streams(m->side[1].w) == 0)
			return;
		for (size_t k = 0; k < m->count; k++)
			for (unsigned i = 0; i < 2; i++) {
				struct pair_stream *s = &m->streams[k];
				if (s->closed[i] || (s->opener != i && !s->announced))
					continue;
				if (s->opener != i)
					hull_wire_accept(m->side[i].w, s->id, NULL, 0);
				consume(&m->side[i], s);
				if (!s->way[i].eof_sent) {
					s->way[i].eof_sent = true;
					assert_int_equal(hull_wire_eof(m->side[i].w, s->id), 0);
				}
			}
	}
	fail_msg("the streams do not come to an end");
}

static void run(uint64_t seed)
{
	struct model m = {.random = seed * 0x9e3779b97f4a7c15u + 1, .epoch = 1};
	m.streams = calloc(SLOTS, sizeof(*m.streams));
	for (unsigned i = 0; i < 2; i++) {
		struct hull_wire_config config = {.side = i ? HULL_WIRE_GUEST : HULL_WIRE_HOST,
						  .max_inbound = 1000,
						  .queue_high = seed % 3 ? 0 : 100000};
		m.side[i] = (struct side){.index = i, .m = &m};
		m.side[i].w = hull_wire_new(&config, &model_ops, &m.side[i]);
	}
	hull_wire_hello(m.side[0].w, m.epoch);
	for (unsigned i = 0; i < STEPS; i++)
		step(&m);
	finish(&m);
	for (size_t k = 0; k < m.count; k++) {
		struct pair_stream *s = &m.streams[k];
		assert_true(s->closed[s->opener]);
		assert_true(s->closed[!s->opener] || !s->announced);
	}
	assert_true(m.checked > 100000);
	for (unsigned i = 0; i < 2; i++) {
		hull_wire_free(m.side[i].w);
		hull_buf_free(&m.travelling[i]);
	}
	free(m.streams);
}

static void test_random_interleavings(void **state)
{
	const char *only = getenv("HULL_TEST_SEED");
	if (only) {
		run(strtoull(only, NULL, 10));
		return;
	}
	for (uint64_t seed = 1; seed <= 25; seed++) {
		print_message("# seed %llu\n", (unsigned long long)seed);
		run(seed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_interleavings),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
