/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The necessary conditions in use, as the probes and the device see them (facts.c).
 */
#ifndef FSN_FACTS_H
#define FSN_FACTS_H

#include <linux/rcupdate.h>
#include <linux/types.h>
#include <linux/vmalloc.h>

#include "filter.h"

/* Bytes that the texts of one call may take; a word beyond the last may be written. */
#define FSN_FACTS_BYTES	(3 * FSN_PATH_MAX + 8)

struct fsn_live_table {
	u64 serial;		/* of all tables there ever were */
	struct fsn_table table;
	u64 blob[];
};

/* Nothing is known yet but what is given here. */
static inline void fsn_facts_begin(struct fsn_facts *f, long ret, const unsigned long *args, struct fsn_ring *ring)
{
	f->ret = ret;
	f->args = args;
	f->ring = ring;
	f->raw.state = FSN_FACT_UNASKED;
	f->given.state = FSN_FACT_UNASKED;
	f->opened.state = FSN_FACT_UNASKED;
	f->kind_state = FSN_FACT_UNASKED;
	f->ports_state = FSN_FACT_UNASKED;
	f->registers = 0;
	f->asked = 0;
	f->held = 0;
	f->read_at = 0;
	f->file = NULL;
}

/* The conditions in use, or NULL: everything passes. probe. */
extern struct fsn_live_table __rcu *fsn_live_table;

static inline const struct fsn_table *fsn_table_live(void)
{
	const struct fsn_live_table *t = rcu_dereference(fsn_live_table);

	return t ? &t->table : NULL;
}

/*
 * Whether the open that @facts are of was, a moment ago, one that no rule matches: of the same file by the same text, from the same
 * step on. probe.
 */
bool fsn_facts_stopped_before(const struct fsn_facts *facts, const struct fsn_table *table, const struct fsn_program *program, u32 at);
/* It is one that no rule matches. probe. */
void fsn_facts_stopped(const struct fsn_facts *facts, const struct fsn_table *table, u32 at);
/* What a ring's probes remember of such opens; freed with the ring. process. */
int fsn_stopped_init(struct fsn_ring *ring);

/* Takes over a table, or none; waits for a grace period. process, device lock. */
long fsn_table_set(const struct fsn_filter_at __user *from);
void fsn_table_drop(void);

#endif /* FSN_FACTS_H */
