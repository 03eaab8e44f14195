/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the module know of each other. One section per file.
 *
 * Context words used below:
 *   probe    inside fsn_enter()/fsn_leave(): preemption off, RCU read side, never nested on a CPU; must not
 *            sleep, print or fault
 *   process  may sleep
 */
#ifndef FSN_SENSOR_H
#define FSN_SENSOR_H

#include <linux/types.h>
#include <linux/sched.h>
#include <linux/fs.h>
#include <linux/path.h>

#include "abi.h"
#include "syscalls.h"

struct fsn_facts;
struct fsn_ring;
struct fsn_slot;

/* ---- ring.c: the per-CPU rings ------------------------------------------------------------------- */

/*
 * A record under construction, in place in the ring. Nothing is visible to the consumer before
 * fsn_out_commit(); a record that does not fit is dropped whole by fsn_out_drop(), counted by cause.
 */
struct fsn_out {
	struct fsn_ring *ring;
	char *start;
	char *pos;
	char *end;		/* limit: room in the ring, or FSN_RECORD_MAX */
	bool ring_full;		/* the limit was the ring's room: a larger ring would have taken it */
	u16 natts;
};

/*
 * Begins a record of @fixed bytes, a multiple of 8, of which only the header is written; false when there is no room for them.
 * probe.
 */
bool fsn_out_begin(struct fsn_out *o, struct fsn_ring *ring, u16 type, u16 slot, u32 fixed);
/* Claims @len more bytes (not zeroed); NULL when they do not fit. probe. */
void *fsn_out_put(struct fsn_out *o, u32 len);
void fsn_out_commit(struct fsn_out *o);
void fsn_out_drop(struct fsn_out *o, enum fsn_drop cause);

static inline u32 fsn_out_room(const struct fsn_out *o)
{
	return o->end - o->pos;
}

/*
 * Begins an attachment with room for at least @want bytes of content; NULL when they do not fit (the caller
 * goes on without it, the event is marked FSN_EVENT_CUT). The content is written at (att + 1), at most
 * *@room bytes, and closed with fsn_att_end(), which pads. probe.
 */
struct fsn_att *fsn_att_begin(struct fsn_out *o, u8 kind, u8 param, u32 want, u32 *room);
void fsn_att_count(struct fsn_ring *ring, u16 flags);

static __always_inline void fsn_att_end(struct fsn_out *o, struct fsn_att *att, u32 len, u16 flags)
{
	char *p = (char *)(att + 1) + len;
	u32 over = len & 7;

	att->len = len;
	att->flags = flags;
	if (unlikely(flags))
		fsn_att_count(o->ring, flags);
	if (over) {
		__le64 *last = (__le64 *)(p - over);	/* attachments begin at multiples of 8 */

		*last &= cpu_to_le64((1ULL << 8 * over) - 1);
		p += 8 - over;
	}
	o->pos = p;
	o->natts++;
}

/* Counters of this ring's producer page; @ring as in fsn_out.ring. probe. */
void fsn_count_fault(struct fsn_ring *ring);
void fsn_count_cut(struct fsn_ring *ring);
/* A scratch buffer of this CPU, of FSN_PATH_MAX bytes and a word, valid until fsn_leave(). probe. */
char *fsn_scratch(struct fsn_ring *ring);

/* ---- capture.c: an event's parameters, as its row in syscalls.c says ------------------------------- */

/* A system call as it returned, numbers and arguments already those of the native call. */
struct fsn_call {
	const struct fsn_syscall_def *sc;
	const struct fsn_facts *facts;	/* what conditions have found out about it, or NULL */
	unsigned long args[6];
	long ret;
	bool compat;		/* user structures have the 32-bit layout */
	u16 nr;
};

/*
 * Appends the attachments of @call's parameters to the event record @o. False: the ring had no room for all
 * of them, and the event must not be sent without what a rule may look at. probe.
 */
bool fsn_capture(struct fsn_out *o, const struct fsn_call *call);
/* After fsn_lookup_init(). process. */
void fsn_capture_init(void);

/*
 * sendmmsg and recvmmsg (FSN_SC_MESSAGES) are one event per message: how many there are, at most
 * FSN_MESSAGES_MAX, and the call as if it had had message @i only, with its bytes as return value. probe.
 */
#define FSN_MESSAGES_MAX	64
u32 fsn_call_messages(const struct fsn_call *call);
void fsn_call_message(struct fsn_call *one, const struct fsn_call *call, u32 i);

/* Snap length and features as configured (config.c). */
struct fsn_capture_config {
	u32 features;		/* FSN_CAP_* */
	u32 snaplen;
};
extern struct fsn_capture_config fsn_capture_config;

/* ---- ia32.c: the 32-bit way of calling -------------------------------------------------------------- */

/*
 * Turns a call by the 32-bit entry into the native one: socketcall and ipc become the call they stand for (sc, args
 * read again), register pairs become one argument. False: cannot be told, skip it. probe.
 */
bool fsn_compat_call(struct fsn_call *call);

/* ---- file.c: descriptors and paths ---------------------------------------------------------------- */

/*
 * The path of @path as the current task's root sees it, built at the end of @buf, which has a word more than @size. Returns its length and
 * start in *@text; flags gets FSN_FD_DELETED, FSN_FD_OUTSIDE, FSN_FD_ANON. Length 0: could not be told. The caller holds
 * a reference or is inside RCU with a validated copy. probe.
 */
u32 fsn_path_text(struct fsn_ring *ring, const struct path *path, char *buf, u32 size, const char **text, u32 *flags);
/*
 * Whether @text is, for certain, what fsn_path_text() says of @path, without flags; cheaper. @text is absolute and tidy, and a word
 * may be read wherever it begins in it. What it returns if so, else 0, stands for the text of the directory: with that as @before
 * only the last name of the same @text is compared. probe.
 */
u64 fsn_path_is(struct fsn_ring *ring, const struct path *path, const char *text, u32 len, u64 before);
/* A mount may lie elsewhere now, or be gone. Any context. */
void fsn_mounts_changed(void);
/* What a ring's probes remember of directories; freed with the ring. process. */
int fsn_directories_init(struct fsn_ring *ring);
/* FSN_FD_UPPER, FSN_FD_LOWER or 0: the overlay layer that @dentry's file lies in. */
u32 fsn_overlay_layer(const struct dentry *dentry);
/*
 * Appends an FSN_ATT_FD attachment for descriptor @fd of current; nothing when it is not open. @role: what the
 * call tells about a socket's end; @facts: what is known already, or NULL. False: no room. probe.
 */
bool fsn_put_fd(struct fsn_out *o, u8 param, int fd, u8 role, const struct fsn_facts *facts);

/* ---- sock.c: both ends of a socket ----------------------------------------------------------------- */

struct socket;
/* Writes struct fsn_sock and the unix names behind it to @buf; returns the bytes written, 0: no room. probe. */
u32 fsn_sock_text(struct socket *sock, u8 role, char *buf, u32 size);
/* The ports of an IP socket that is connected: what its ends are, whatever address a call names. False: it is none. probe. */
bool fsn_sock_ports(struct socket *sock, u16 *local, u16 *remote);
/* Queue of the listening socket @fd: length and maximum. False: it is no socket. probe. */
bool fsn_fd_backlog(int fd, u32 *len, u32 *max);

/* ---- task.c: slots and task records ----------------------------------------------------------------- */

/*
 * The slot of the current task on @ring, after making sure that the consumer's idea of it is current: sends exec and task
 * records where it is not. NULL: they did not fit. probe.
 */
struct fsn_slot *fsn_task_slot(struct fsn_ring *ring);

/* ---- every probe begins and ends with these (ring.c) ------------------------------------------------ */

struct fsn_ring *fsn_enter(void);
void fsn_leave(struct fsn_ring *ring);

#endif /* FSN_SENSOR_H */
