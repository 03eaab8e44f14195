/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The necessary conditions in use, as the probes and the device see them (facts.c).
 */
#ifndef FSN_FACTS_H
#define FSN_FACTS_H

#include <linux/types.h>
#include <linux/vmalloc.h>

#include "filter.h"

/* Bytes that the texts of one call may take. */
#define FSN_FACTS_BYTES	(3 * FSN_PATH_MAX)

struct fsn_live_table {
	struct fsn_table table;
	u64 blob[];
};

/* The conditions in use, or NULL: everything passes. probe. */
const struct fsn_table *fsn_table_live(void);
/* Takes over a table, or none; waits for a grace period. process, device lock. */
long fsn_table_set(const struct fsn_filter_at __user *from);
void fsn_table_drop(void);

#endif /* FSN_FACTS_H */
