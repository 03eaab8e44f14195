/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Necessary conditions: the tables of struct fsn_filter (abi.h), and what they are asked about.
 *
 * filter.c is plain C: compiled into the module, and into the tests of the programs, which try it on generated rules
 * and events. What needs the kernel, looking up paths and descriptors, is facts.c.
 */
#ifndef FSN_FILTER_H
#define FSN_FILTER_H

#include "abi.h"
#ifdef __KERNEL__
#include <linux/stddef.h>
#else
#include <stddef.h>
#endif

struct fsn_ring;

/* A checked blob, taken apart. */
struct fsn_table {
	const struct fsn_filter *head;
	const struct fsn_test *tests;
	const struct fsn_string *strings;
	const struct fsn_step *steps;
	const struct fsn_set *sets;
	const struct fsn_program *programs;
	const char *bytes;
};

enum fsn_fact {
	FSN_FACT_UNASKED,
	FSN_FACT_ABSENT,	/* there is none */
	FSN_FACT_UNKNOWN,	/* it may be anything */
	FSN_FACT_KNOWN,
};

struct fsn_fact_text {
	const char *text;
	__u32 len;
	__u16 state;		/* enum fsn_fact */
	__u16 dotted;		/* perhaps two bytes side by side are '.' or '/' */
};

/* A call, as far as conditions have asked about it. */
struct fsn_facts {
	__s64 ret;
	const unsigned long *args;
	struct fsn_fact_text raw;
	struct fsn_fact_text given;
	struct fsn_fact_text opened;
	__u32 kind;		/* FSN_KIND_*, when kind_state is KNOWN */
	__u32 kind_state;
	__u32 ports_state;
	__u16 local_port;	/* when ports_state is KNOWN */
	__u16 remote_port;
	__u32 registers;	/* fsn_filter_passes() has asked for registers or the result */
	__u64 asked;		/* by test of the program, of texts and sockets only: its answer is in @held */
	__u64 held;
	struct fsn_ring *ring;	/* facts.c: of this CPU */
	/* what facts.c has found on the way and the record can have, too */
	const char *read;
	unsigned long read_at;	/* where in user memory the whole text lies that @read is; 0: nowhere */
	__u32 read_len;
	__u32 file_flags;	/* FSN_FD_* of @opened */
	const void *file;	/* the open file whose path @opened is, while nobody can have exchanged it; or NULL */
	const void *dentry;	/* when @opened is @given: whose path it is, and fsn_path_is() of them */
	__u64 directory;
};

/*
 * Checks every number of a blob of @size bytes and takes it apart. The blob must not change afterwards. Returns false for what
 * does not fit together.
 */
int fsn_filter_check(const void *blob, __u32 size, struct fsn_table *table);

/* The program of an event code, or NULL. */
static inline const struct fsn_program *fsn_filter_program(const struct fsn_table *table, __u32 code)
{
	__u8 n = code < FSN_FILTER_CODES ? table->head->program[code] : 0;

	return n ? &table->programs[n - 1] : NULL;
}

/* How far registers and the result alone decide: the first step that asks for more, or an end (FSN_STEP_*). */
__u32 fsn_filter_begin(const struct fsn_table *table, const struct fsn_program *program, const struct fsn_facts *facts);

/*
 * Whether the call may be one that a rule matches, from step @at on, which fsn_filter_begin() gave. Answers are kept in
 * @facts.
 */
int fsn_filter_passes(const struct fsn_table *table, const struct fsn_program *program, struct fsn_facts *facts, __u32 at);

/* facts.c: fill the texts, the kind or the ports of @facts that are UNASKED; what cannot be told becomes UNKNOWN. probe. */
void fsn_facts_path(struct fsn_facts *facts, const struct fsn_program *program);
void fsn_facts_opened(struct fsn_facts *facts, const struct fsn_program *program);
void fsn_facts_kind(struct fsn_facts *facts, const struct fsn_program *program);
void fsn_facts_ports(struct fsn_facts *facts, const struct fsn_program *program);

#endif /* FSN_FILTER_H */
