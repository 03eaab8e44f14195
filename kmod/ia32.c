// SPDX-License-Identifier: GPL-2.0
/*
 * From the 32-bit way of calling to the native one: i386 programs on x86_64. What two calls differ in (a
 * multiplexer, a pair of registers for one argument, ids of 16 bits) is evened out here, so that capture.c and the
 * table know native calls only; what structures in memory differ in is left to capture.c.
 *
 * Context: probe. User memory is read through user.c; no locks, nothing to free. The numbers are those of the
 * i386 table, which never change.
 */
#include "compat.h"
#include "sensor.h"
#include "user.h"

#ifdef CONFIG_X86_64
/* The calls of socketcall(2), by its first argument: number of arguments, sc id. */
static const struct {
	u8 args;
	u16 sc;
} socketcalls[] = {
	[1] = { 3, 241 },	/* socket */
	[2] = { 3, 242 },	/* bind */
	[3] = { 3, 243 },	/* connect */
	[4] = { 2, 244 },	/* listen */
	[5] = { 3, 245 },	/* accept */
	[6] = { 3, 246 },	/* getsockname */
	[7] = { 3, 247 },	/* getpeername */
	[8] = { 4, 248 },	/* socketpair */
	[9] = { 4, 395 },	/* send */
	[10] = { 4, 394 },	/* recv */
	[11] = { 6, 249 },	/* sendto */
	[12] = { 6, 250 },	/* recvfrom */
	[13] = { 2, 251 },	/* shutdown */
	[14] = { 5, 252 },	/* setsockopt */
	[15] = { 5, 253 },	/* getsockopt */
	[16] = { 3, 254 },	/* sendmsg */
	[17] = { 3, 256 },	/* recvmsg */
	[18] = { 4, 258 },	/* accept4 */
	[19] = { 5, 257 },	/* recvmmsg */
	[20] = { 4, 255 },	/* sendmmsg */
};

/* The calls of ipc(2) whose arguments are in the registers behind the first. */
static const u16 ipc_calls[] = {
	[1] = 259,	/* semop */
	[2] = 260,	/* semget */
	[3] = 261,	/* semctl */
	[4] = 371,	/* semtimedop */
	[11] = 262,	/* msgsnd */
	[12] = 263,	/* msgrcv */
	[13] = 264,	/* msgget */
	[14] = 265,	/* msgctl */
	[21] = 297,	/* shmat */
	[22] = 266,	/* shmdt */
	[23] = 267,	/* shmget */
	[24] = 268,	/* shmctl */
};

/* Calls with a 64-bit argument in a pair of registers, low half first: index of the low half. */
static const struct {
	u16 nr;
	u8 low;
} register_pairs[] = {
	{ 180, 3 },	/* pread64 */
	{ 181, 3 },	/* pwrite64 */
	{ 193, 1 },	/* truncate64 */
	{ 194, 1 },	/* ftruncate64 */
	{ 225, 1 },	/* readahead */
	{ 250, 1 },	/* fadvise64 */
	{ 333, 3 },	/* preadv */
	{ 334, 3 },	/* pwritev */
	{ 339, 2 },	/* fanotify_mark */
	{ 378, 3 },	/* preadv2 */
	{ 379, 3 },	/* pwritev2 */
};

/* Replaces the arguments by @n 32-bit words at user address @from. */
static bool args_from_user(struct fsn_call *call, unsigned long from, unsigned int n)
{
	u32 words[6];
	unsigned int i;

	if (fsn_user_bytes(words, (const void __user *)from, n * sizeof(u32)) < n * sizeof(u32))
		return false;
	for (i = 0; i < ARRAY_SIZE(call->args); i++)
		call->args[i] = i < n ? words[i] : 0;
	return true;
}

static void socketcall(struct fsn_call *call)
{
	unsigned long which = call->args[0];

	/* what cannot be told stays a socketcall: its row is generic */
	if (which >= ARRAY_SIZE(socketcalls) || !socketcalls[which].sc)
		return;
	if (args_from_user(call, call->args[1], socketcalls[which].args))
		call->sc = fsn_syscall_by_sc(socketcalls[which].sc);
}

static void ipc(struct fsn_call *call)
{
	u32 which = call->args[0] & 0xffff;	/* the upper half is a version */
	unsigned long *args = call->args;

	if (which >= ARRAY_SIZE(ipc_calls) || !ipc_calls[which])
		return;
	/* ipc(call, first, second, third, ptr, fifth) */
	switch (which) {
	case 1:		/* semop(id, ops, n) */
	case 4:
		args[0] = args[1];
		args[1] = args[4];
		break;
	case 3: {	/* semctl(id, num, cmd, *ptr) */
		u32 value = 0;

		fsn_user_bytes(&value, (const void __user *)args[4], sizeof(value));
		args[0] = args[1];
		args[1] = args[2];
		args[2] = args[3];
		args[3] = value;
		break;
	}
	default:
		args[0] = args[1];
		args[1] = args[2];
		args[2] = args[3];
	}
	call->sc = fsn_syscall_by_sc(ipc_calls[which]);
}

/* 16-bit ids: all ones means "leave it" in both widths. */
static void widen_ids(struct fsn_call *call)
{
	const struct fsn_event_def *event = fsn_event_by_code(call->sc->event);
	unsigned int i;

	for (i = 0; i < event->nparams; i++) {
		const struct fsn_param *p = &event->params[i];
		u16 id;

		if (p->source != FSN_S_ARG ||
		    (p->type != FSN_T_UID && p->type != FSN_T_GID && p->type != FSN_T_UINT32))
			continue;
		id = call->args[p->arg];
		call->args[p->arg] = id == 0xffff ? 0xffffffff : id;
	}
}

static void join_pair(struct fsn_call *call)
{
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(register_pairs); i++) {
		if (register_pairs[i].nr != call->nr)
			continue;
		k = register_pairs[i].low;
		call->args[k] = (u32)call->args[k] | call->args[k + 1] << 32;
		for (k++; k < ARRAY_SIZE(call->args) - 1; k++)
			call->args[k] = call->args[k + 1];
		return;
	}
}

#define NR_LSEEK	19
#define NR_MMAP		90
#define NR_SOCKETCALL	102
#define NR_IPC		117
#define NR_LLSEEK	140
#define NR_MMAP2	192
#define NR_FADVISE64_64	272
#define NR_SYNC_RANGE	314
#define NR_FALLOCATE	324

bool fsn_compat_call(struct fsn_call *call)
{
	unsigned long *args = call->args;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(call->args); i++)
		args[i] = (u32)args[i];
	switch (call->nr) {
	case NR_SOCKETCALL:
		socketcall(call);
		return call->sc;
	case NR_IPC:
		ipc(call);
		return call->sc;
	case NR_MMAP:		/* all arguments in a structure */
		args_from_user(call, args[0], 6);
		return true;
	case NR_LSEEK:		/* offset is signed */
		args[1] = (s32)args[1];
		break;
	case NR_MMAP2:		/* offset in units of 4,096 bytes */
		args[5] <<= 12;
		break;
	case NR_LLSEEK:		/* (fd, high, low, result, whence) */
		args[1] = args[1] << 32 | args[2];
		args[2] = args[4];
		break;
	case NR_FADVISE64_64:
	case NR_SYNC_RANGE:	/* (fd, low, high, low, high, flags) */
		args[1] |= args[2] << 32;
		args[2] = args[3] | args[4] << 32;
		args[3] = args[5];
		break;
	case NR_FALLOCATE:	/* (fd, mode, low, high, low, high) */
		args[2] |= args[3] << 32;
		args[3] = args[4] | args[5] << 32;
		break;
	default:
		join_pair(call);
	}
	if ((call->sc->flags & FSN_SC_ID16) && call->nr == call->sc->ia32)
		widen_ids(call);
	return true;
}
#else
/* No other architecture has a table for its 32-bit entry: no row was found for the number. */
bool fsn_compat_call(struct fsn_call *call)
{
	return false;
}
#endif
