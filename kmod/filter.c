// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * Necessary conditions: checks a table that the consumer has handed over, and asks it about a call.
 *
 * Plain C without the kernel, see filter.h. Steps go forward only, so a program ends after as many steps as it has; every
 * test is decided at most once per call; texts and sets are bounded. What is not known counts as held.
 */
#include "filter.h"
#ifdef __KERNEL__
#include <linux/string.h>
#else
#include <string.h>
#define likely(x)		(x)
#ifndef __always_inline
#define __always_inline		inline
#endif
#endif

/* ---- checking ------------------------------------------------------------------------------------------ */

static int reg_ok(__u8 reg)
{
	return reg < 6;
}

static int check_test(const struct fsn_filter *head, const struct fsn_test *t)
{
	switch (t->kind) {
	case FSN_TEST_RESULT:
	case FSN_TEST_SOCKET:
		return 1;
	case FSN_TEST_ACCESS:
	case FSN_TEST_BITS:
	case FSN_TEST_VALUE:
		return reg_ok(t->reg);
	case FSN_TEST_TEXT:
		return t->set < head->sets;
	case FSN_TEST_PORT:
		return 1;
	default:
		return 0;
	}
}

static int check_set(const struct fsn_filter *head, const struct fsn_set *set)
{
	unsigned int i;

	for (i = 0; i < FSN_SET_PARTS; i++)
		if ((__u32)set->part[i].first + set->part[i].count > head->strings)
			return 0;
	return set->part[FSN_SET_CONTAINED].count <= FSN_NEEDLES_MAX &&
	       set->part[FSN_SET_DOTTED].count <= FSN_NEEDLES_MAX;
}

/* Whether @to is an end or one of the program's steps from @least on. */
static int check_target(const struct fsn_program *p, __u16 to, __u32 least)
{
	return to == FSN_STEP_PASS || to == FSN_STEP_STOP || (to >= least && to < (__u32)p->step + p->steps);
}

static int check_step(const struct fsn_program *p, __u32 at, const struct fsn_step *s)
{
	return s->test >= p->test && s->test - p->test < p->tests && check_target(p, s->yes, at + 1) &&
	       check_target(p, s->no, at + 1);
}

static int check_program(const struct fsn_filter *head, const struct fsn_table *table,
			 const struct fsn_program *p)
{
	__u32 i;

	if (!p->steps || p->steps > FSN_PROGRAM_STEPS || (__u32)p->step + p->steps > head->steps ||
	    p->tests > FSN_PROGRAM_TESTS || (__u32)p->test + p->tests > head->tests)
		return 0;
	if ((p->path != FSN_REG_NONE && !reg_ok(p->path)) || (p->dirfd != FSN_REG_NONE && !reg_ok(p->dirfd)) ||
	    (p->fd != FSN_REG_NONE && p->fd != FSN_REG_RESULT && !reg_ok(p->fd)) ||
	    (p->access != FSN_REG_NONE && !reg_ok(p->access)))
		return 0;
	for (i = 0; i < FSN_ENTRIES; i++)
		if (!check_target(p, p->entry[i], p->step))
			return 0;
	for (i = p->step; i < (__u32)p->step + p->steps; i++)
		if (!check_step(p, i, &table->steps[i]))
			return 0;
	return 1;
}

int fsn_filter_check(const void *blob, __u32 size, struct fsn_table *table)
{
	const struct fsn_filter *head = blob;
	const char *at = (const char *)blob + sizeof(*head);
	__u64 want = sizeof(*head);
	__u32 i;

	if (size < sizeof(*head) || size > FSN_FILTER_MAX || head->size != size)
		return 0;
	want += (__u64)head->tests * sizeof(struct fsn_test) + (__u64)head->strings * sizeof(struct fsn_string) +
		(__u64)head->steps * sizeof(struct fsn_step) + (__u64)head->sets * sizeof(struct fsn_set) +
		(__u64)head->programs * sizeof(struct fsn_program) + head->bytes;
	if (want != size)
		return 0;
	table->head = head;
	table->tests = (const void *)at;
	table->strings = (const void *)(table->tests + head->tests);
	table->steps = (const void *)(table->strings + head->strings);
	table->sets = (const void *)(table->steps + head->steps);
	table->programs = (const void *)(table->sets + head->sets);
	table->bytes = (const void *)(table->programs + head->programs);
	for (i = 0; i < head->strings; i++) {
		const struct fsn_string *s = &table->strings[i];

		if (!s->len || s->len > FSN_STRING_MAX || (__u64)s->at + s->len > head->bytes)
			return 0;
	}
	for (i = 0; i < head->tests; i++)
		if (!check_test(head, &table->tests[i]))
			return 0;
	for (i = 0; i < head->sets; i++)
		if (!check_set(head, &table->sets[i]))
			return 0;
	for (i = 0; i < head->programs; i++)
		if (!check_program(head, table, &table->programs[i]))
			return 0;
	for (i = 0; i < FSN_FILTER_CODES; i++)
		if (head->program[i] > head->programs)
			return 0;
	return 1;
}

/* ---- sets of texts ------------------------------------------------------------------------------------------ */

/* As memcmp of what both have, then the longer one. */
static int compare(const char *a, __u32 a_len, const char *b, __u32 b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return order ? order : (a_len > b_len) - (a_len < b_len);
}

/* The same from the last byte to the first. */
static int compare_backwards(const char *a, __u32 a_len, const char *b, __u32 b_len)
{
	__u32 i, n = a_len < b_len ? a_len : b_len;

	for (i = 1; i <= n; i++) {
		unsigned char x = a[a_len - i], y = b[b_len - i];

		if (x != y)
			return x < y ? -1 : 1;
	}
	return (a_len > b_len) - (a_len < b_len);
}

/* The last of @count sorted strings that is not behind the text, or NULL. */
static const struct fsn_string *last_before(const struct fsn_table *t, __u32 first, __u32 count, const char *text,
					    __u32 len, int backwards)
{
	__u32 low = 0, high = count;

	while (low < high) {
		__u32 mid = (low + high) / 2;
		const struct fsn_string *s = &t->strings[first + mid];
		const char *other = t->bytes + s->at;
		int order = backwards ? compare_backwards(other, s->len, text, len)
				      : compare(other, s->len, text, len);

		if (order <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? &t->strings[first + low - 1] : NULL;
}

/* The parts of which a text may have such a pair, as bits. */
static __u8 parts_with(const struct fsn_set *set, unsigned char a, unsigned char b)
{
	return set->pairs[FSN_PAIR(a, b)];
}

#define PART(part)	(1u << (part))

/* Whether a text of this part begins here. */
static int begins_here(const struct fsn_table *t, const struct fsn_set *set, enum fsn_set_part part, const char *text,
		       __u32 len)
{
	__u32 first = set->part[part].first, count = set->part[part].count;
	__u32 i;

	for (i = 0; i < count; i++) {
		const struct fsn_string *s = &t->strings[first + i];

		if (s->len <= len && !memcmp(t->bytes + s->at, text, s->len))
			return 1;
	}
	return 0;
}

/* Where one of the pairs at which a contained text is noticed stands, one may have begun a little before. */
static __always_inline int contains_one(const struct fsn_table *t, const struct fsn_set *set, enum fsn_set_part part,
					const char *text, __u32 len)
{
	const char *end = text + len, *at;
	long step = set->step[part] ? set->step[part] : 1, back;

	for (at = text; at < end - 1; at += step) {
		if (likely(!(parts_with(set, at[0], at[1]) & PART(part))))
			continue;
		for (back = 0; back < step && back <= at - text; back++)
			if (begins_here(t, set, part, at - back, end - at + back))
				return 1;
	}
	return !set->step[part] && begins_here(t, set, part, end - 1, 1);
}

/* @len is not 0. */
static int in_set(const struct fsn_table *t, const struct fsn_set *set, const struct fsn_fact_text *fact)
{
	const char *text = fact->text;
	__u32 len = fact->len;
	unsigned char end = text[len - 1], before = len > 1 ? text[len - 2] : 0;
	__u32 at = set->step[FSN_SET_PREFIX];
	const struct fsn_string *s;

	if (parts_with(set, end, len) & PART(FSN_SET_EXACT)) {
		s = last_before(t, set->part[FSN_SET_EXACT].first, set->part[FSN_SET_EXACT].count, text, len, 0);
		if (s && s->len == len && !memcmp(t->bytes + s->at, text, len))
			return 1;
	}
	if (at < len && parts_with(set, text[at], at + 1 < len ? text[at + 1] : 0) & PART(FSN_SET_PREFIX)) {
		s = last_before(t, set->part[FSN_SET_PREFIX].first, set->part[FSN_SET_PREFIX].count, text, len, 0);
		if (s && s->len <= len && !memcmp(t->bytes + s->at, text, s->len))
			return 1;
	}
	if (parts_with(set, end, before) & PART(FSN_SET_SUFFIX)) {
		s = last_before(t, set->part[FSN_SET_SUFFIX].first, set->part[FSN_SET_SUFFIX].count, text, len, 1);
		if (s && s->len <= len && !memcmp(t->bytes + s->at, text + len - s->len, s->len))
			return 1;
	}
	if (set->part[FSN_SET_CONTAINED].count && contains_one(t, set, FSN_SET_CONTAINED, text, len))
		return 1;
	return fact->dotted && set->part[FSN_SET_DOTTED].count && contains_one(t, set, FSN_SET_DOTTED, text, len);
}

/* ---- tests -------------------------------------------------------------------------------------------------- */

#ifndef __KERNEL__
/* Outside the kernel every fact is given from the start. */
void fsn_facts_path(struct fsn_facts *facts, const struct fsn_program *program)
{
	(void)facts;
	(void)program;
}

void fsn_facts_opened(struct fsn_facts *facts, const struct fsn_program *program)
{
	(void)facts;
	(void)program;
}

void fsn_facts_kind(struct fsn_facts *facts, const struct fsn_program *program)
{
	(void)facts;
	(void)program;
}

void fsn_facts_ports(struct fsn_facts *facts, const struct fsn_program *program)
{
	(void)facts;
	(void)program;
}
#endif

static int text_may_be_in(const struct fsn_table *t, const struct fsn_set *set, const struct fsn_fact_text *text)
{
	switch (text->state) {
	case FSN_FACT_ABSENT:
		return 0;
	case FSN_FACT_KNOWN:
		return text->len && in_set(t, set, text);
	default:
		return 1;
	}
}

static __always_inline int same_text(const struct fsn_fact_text *a, const struct fsn_fact_text *b)
{
	if (a->state != FSN_FACT_KNOWN || b->state != FSN_FACT_KNOWN || a->len != b->len)
		return 0;
	return likely(a->text == b->text) || !memcmp(a->text, b->text, a->len);
}

static int texts_may_be_in(const struct fsn_table *t, const struct fsn_program *p, struct fsn_facts *f,
			   const struct fsn_test *test)
{
	const struct fsn_set *set = &t->sets[test->set];

	if (test->low & (FSN_TEXT_RAW | FSN_TEXT_GIVEN)) {
		if (f->raw.state == FSN_FACT_UNASKED || f->given.state == FSN_FACT_UNASKED)
			fsn_facts_path(f, p);
		if ((test->low & FSN_TEXT_RAW) && text_may_be_in(t, set, &f->raw))
			return 1;
		/* an absolute path is given as it is */
		if ((test->low & FSN_TEXT_GIVEN) && !((test->low & FSN_TEXT_RAW) && same_text(&f->raw, &f->given)) &&
		    text_may_be_in(t, set, &f->given))
			return 1;
	}
	if (test->low & FSN_TEXT_OPENED) {
		if (f->opened.state == FSN_FACT_UNASKED)
			fsn_facts_opened(f, p);
		/* most paths are opened as they are given */
		if ((test->low & FSN_TEXT_GIVEN) && same_text(&f->given, &f->opened))
			return 0;
		return text_may_be_in(t, set, &f->opened);
	}
	return 0;
}

static int kind_may_be(const struct fsn_program *p, struct fsn_facts *f, const struct fsn_test *test)
{
	if (f->kind_state == FSN_FACT_UNASKED)
		fsn_facts_kind(f, p);
	return f->kind_state != FSN_FACT_KNOWN || (f->kind & test->low);
}

static int port_may_be(const struct fsn_program *p, struct fsn_facts *f, const struct fsn_test *test)
{
	if (f->ports_state == FSN_FACT_UNASKED)
		fsn_facts_ports(f, p);
	if (f->ports_state != FSN_FACT_KNOWN)
		return 1;
	return ((test->reg & FSN_PORT_LOCAL) && test->low <= f->local_port && f->local_port <= test->high) ||
	       ((test->reg & FSN_PORT_REMOTE) && test->low <= f->remote_port && f->remote_port <= test->high);
}

/* A test of the registers and the result. */
static int registers_may_be(const struct fsn_facts *f, const struct fsn_test *test)
{
	switch (test->kind) {
	case FSN_TEST_RESULT:
		return test->low <= f->ret && f->ret <= test->high;
	case FSN_TEST_ACCESS:
		return test->low >> (f->args[test->reg] & 3) & 1;
	case FSN_TEST_BITS:
		return (__u32)f->args[test->reg] & (__u32)test->low ? 1 : 0;
	case FSN_TEST_VALUE: {
		__s64 value = (__s32)f->args[test->reg];

		return test->low <= value && value <= test->high;
	}
	default:
		return 1;
	}
}

/* A test of what a call is about: paths, a socket; decided once. */
static int object_may_be(const struct fsn_table *t, const struct fsn_program *p, struct fsn_facts *f,
			 const struct fsn_test *test, __u64 bit)
{
	int may;

	if (f->asked & bit)
		return f->held & bit ? 1 : 0;
	if (test->kind == FSN_TEST_TEXT)
		may = texts_may_be_in(t, p, f, test);
	else if (test->kind == FSN_TEST_SOCKET)
		may = kind_may_be(p, f, test);
	else
		may = port_may_be(p, f, test);
	f->asked |= bit;
	if (may)
		f->held |= bit;
	return may;
}

static __always_inline int is_object(const struct fsn_test *test)
{
	return test->kind == FSN_TEST_TEXT || test->kind == FSN_TEST_SOCKET || test->kind == FSN_TEST_PORT;
}

__u32 fsn_filter_begin(const struct fsn_table *t, const struct fsn_program *p, const struct fsn_facts *f)
{
	__u32 at = f->ret < 0 ? FSN_ENTRY_FAILED : p->access == FSN_REG_NONE ? 0 : f->args[p->access] & 3;

	at = p->entry[at];
	/* forward, see check_step() */
	while (at < FSN_STEP_STOP) {
		const struct fsn_step *s = &t->steps[at];
		const struct fsn_test *test = &t->tests[s->test];

		if (is_object(test))
			break;
		at = registers_may_be(f, test) ? s->yes : s->no;
	}
	return at;
}

int fsn_filter_passes(const struct fsn_table *t, const struct fsn_program *p, struct fsn_facts *f, __u32 at)
{
	while (at < FSN_STEP_STOP) {
		const struct fsn_step *s = &t->steps[at];
		const struct fsn_test *test = &t->tests[s->test];
		int may;

		if (is_object(test)) {
			may = object_may_be(t, p, f, test, 1ULL << (s->test - p->test));
		} else {
			f->registers = 1;
			may = registers_may_be(f, test);
		}
		at = may ? s->yes : s->no;
	}
	return at == FSN_STEP_PASS;
}
