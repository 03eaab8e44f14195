// SPDX-License-Identifier: GPL-2.0
/*
 * User memory that may not be there: reads that never fault in a page, never sleep, and say how far they
 * came.
 *
 * Context: probe (any context in which current's memory is current's). Page faults are off around every
 * copy, so memory that is paged out reads as a fault. No locks, nothing to free.
 *
 * The memory is the program's to change at any time: what is read twice may differ, so a length or a
 * terminator found by one read is never used to trust another.
 */
#include "compat.h"
#include "user.h"

/* A text is looked at in steps of this many bytes; a step never crosses a page. */
#define STEP	128

u32 fsn_user_bytes(void *to, const void __user *from, u32 len)
{
	unsigned long left;

	if (!len || !fsn_access_ok(from, len))
		return 0;
	pagefault_disable();
	left = __copy_from_user_inatomic(to, from, len);
	pagefault_enable();
	return left < len ? len - left : 0;
}

/* As far as it can be read. */
static u32 text_in_steps(char *to, const char __user *from, u32 max, u16 *flags)
{
	u32 done = 0;

	while (done < max) {
		u32 step = STEP - ((unsigned long)(from + done) & (STEP - 1));
		u32 got, len;

		step = min(step, max - done);
		got = fsn_user_bytes(to + done, from + done, step);
		len = strnlen(to + done, got);
		done += len;
		if (len < got)
			return done;
		if (got < step) {
			*flags |= FSN_ATT_FAULT;
			return done;
		}
	}
	*flags |= FSN_ATT_CUT;
	return done;
}

u32 fsn_user_text_slowly(char *to, const char __user *from, u32 max, u16 *flags)
{
	long len;

	/* by words, and nothing is known where it fails */
	pagefault_disable();
	len = strncpy_from_user(to, from, max);
	pagefault_enable();
	if (unlikely(len < 0))
		return text_in_steps(to, from, max, flags);
	if (len == max)
		*flags |= FSN_ATT_CUT;
	return len;
}
