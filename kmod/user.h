/* SPDX-License-Identifier: GPL-2.0 */
/*
 * User memory that may not be there (user.c).
 */
#ifndef FSN_USER_H
#define FSN_USER_H

#include "compat.h"
#include "sensor.h"

/* Copies @len bytes or as many as are readable without sleeping; returns the number copied. probe. */
u32 fsn_user_bytes(void *to, const void __user *from, u32 len);
/* As fsn_user_text(). */
u32 fsn_user_text_slowly(char *to, const char __user *from, u32 max, u16 *flags);

#if defined(user_access_begin) && defined(unsafe_get_user) && FSN_KERNEL(5, 0) && BITS_PER_LONG == 64 && defined(__LITTLE_ENDIAN)
/* The bytes of a word that are '.' or '/', by their highest bits; perhaps some behind one that is, too. */
static __always_inline u64 fsn_dots_and_slashes(u64 word)
{
	word = (word | FSN_ONES) ^ FSN_ONES * '/';	/* they differ in their lowest bit */
	return (word - FSN_ONES) & ~word & FSN_HIGH_BITS;
}

/* fsn_user_text_by_words() with page faults off. */
static __always_inline long fsn_words_of_text(char *to, const char __user *from, u32 max, u64 *dotted)
{
	u64 found, last = 0, pairs = 0;
	u32 most = min_t(u32, max, PAGE_SIZE - ((unsigned long)from & ~PAGE_MASK)) & ~7u;
	u64 word, nul;
	u32 done;

	if (!user_access_begin(from, most))
		return -EFAULT;
	for (done = 0; done < most; done += sizeof(word)) {
		unsafe_get_user(word, (const u64 __user *)(from + done), fault);
		nul = (word - FSN_ONES) & ~word & FSN_HIGH_BITS;
		if (nul) {
			/* the lowest bit is that of the first NUL */
			word &= ((nul & -nul) >> 7) - 1;
			*(u64 *)(to + done) = word;
			user_access_end();
			if (dotted) {
				found = fsn_dots_and_slashes(word);
				*dotted = pairs | (found & (found << 8 | last));
			}
			return done + __ffs64(nul) / 8;
		}
		*(u64 *)(to + done) = word;
		if (dotted) {
			found = fsn_dots_and_slashes(word);
			pairs |= found & (found << 8 | last);
			last = found >> 56;
		}
	}
	user_access_end();
	return -E2BIG;
fault:
	user_access_end();
	return -EFAULT;
}

/*
 * The text by words, without what strncpy_from_user() checks of its destination: that costs more than the rest. What follows the
 * text in its last word becomes NUL. Negative: does not end before @max or the end of its page, or is not there. *@dotted, if
 * wanted, is 0 where for certain no two of its bytes side by side are '.' or '/'. probe.
 */
static __always_inline long fsn_user_text_by_words(char *to, const char __user *from, u32 max, u64 *dotted)
{
	long len;

	pagefault_disable();
	len = fsn_words_of_text(to, from, max, dotted);
	pagefault_enable();
	return len;
}

/* fsn_user_text_is() with page faults off. */
static __always_inline bool fsn_words_are(const char *text, u32 len, const char __user *from)
{
	u32 whole = len & ~7u, at;
	bool same = false;
	u64 word;

	if (!user_access_begin(from, whole + sizeof(word)))
		return false;
	for (at = 0; at < whole; at += sizeof(word)) {
		unsafe_get_user(word, (const u64 __user *)(from + at), out);
		if (word != fsn_word_at(text + at))
			goto out;
	}
	unsafe_get_user(word, (const u64 __user *)(from + at), out);
	/* what stands behind the NUL does not matter */
	same = !((word ^ fsn_word_at(text + at)) << 8 * (7 - (len & 7)));
out:
	user_access_end();
	return same;
}

/*
 * Whether the text at @from is, for certain, @text with its NUL, whose last word may be read whole. Nothing is said of one that
 * cannot be read. probe.
 */
static __always_inline bool fsn_user_text_is(const char *text, u32 len, const char __user *from)
{
	bool same;

	pagefault_disable();
	same = fsn_words_are(text, len, from);
	pagefault_enable();
	return same;
}
#else
static __always_inline long fsn_user_text_by_words(char *to, const char __user *from, u32 max, u64 *dotted)
{
	return -EOPNOTSUPP;
}

static __always_inline bool fsn_user_text_is(const char *text, u32 len, const char __user *from)
{
	return false;
}
#endif

/*
 * Copies a text without its NUL, at most @max bytes; *@flags gets FSN_ATT_CUT or FSN_ATT_FAULT. *@dotted, if wanted, is 0 where for
 * certain no two of its bytes side by side are '.' or '/'. probe.
 */
static __always_inline u32 fsn_user_text(char *to, const char __user *from, u32 max, u16 *flags, u64 *dotted)
{
	long len = fsn_user_text_by_words(to, from, max, dotted);

	if (likely(len >= 0))
		return len;
	if (dotted)
		*dotted = ~0ULL;
	return fsn_user_text_slowly(to, from, max, flags);
}

#endif /* FSN_USER_H */
