/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Task slots, exec records and thread identities, as the files that keep them see each other.
 */
#ifndef FSN_TASK_H
#define FSN_TASK_H

#include "compat.h"
#include "ring.h"

/* ---- exec.c ----------------------------------------------------------------------------------------- */

/*
 * An exec record in memory: what a process image is. Shared by every process that inherited it by fork;
 * reference-counted by the identities that name it; freed after a grace period, so that a probe may use one
 * it found under RCU without a reference.
 */
struct fsn_image {
	refcount_t refs;
	struct rcu_head rcu;
	u32 bytes;		/* of this allocation, for the cap */
	u32 *sent;		/* [cpu]: ring epoch this record was sent in; written by that CPU only */
	struct fsn_exec rec;	/* as it goes into a ring; the texts follow */
};

/*
 * What the kernel does not keep about a thread: the name it got at exec or clone, the image, who forked it.
 * Found by tid under RCU; image is NULL for threads that are not the leader (theirs is the leader's) and for
 * kernel threads. Removed when the kernel frees the task.
 */
struct fsn_ident {
	struct hlist_node node;
	struct rcu_head rcu;
	const struct task_struct *task;	/* compared, never followed */
	u64 start;
	pid_t tid;
	pid_t birth_ppid;
	u64 birth_exec_id;
	bool exec_pending;		/* exec succeeded, its system call has not returned yet */
	char comm[FSN_COMM];
	struct fsn_image __rcu *image;
};

/* All below: probe, unless said otherwise. */
struct fsn_ident *fsn_ident_find(const struct task_struct *t);
/* The identity of @t, made on the spot for a thread older than the module; NULL without memory. */
struct fsn_ident *fsn_ident_get(struct fsn_ring *ring, struct task_struct *t);
/* Image of current's process; made from its own memory when there is none yet. */
struct fsn_image *fsn_image_current(struct fsn_ring *ring);
/* Sends @image to @ring unless it was sent in this epoch. False: no room. */
bool fsn_image_send(struct fsn_ring *ring, struct fsn_image *image);

void fsn_ident_fork(struct fsn_ring *ring, struct task_struct *parent, struct task_struct *child);
void fsn_ident_exec(struct fsn_ring *ring, pid_t old_tid, const char *filename, bool by_syscall);
/* Any context: the kernel is done with @t. */
void fsn_ident_free(const struct task_struct *t);
/* True once after a successful exec of current: the system call that made it is returning. */
bool fsn_exec_returning(void);
/* process: */
void fsn_exec_init(void);
int fsn_ident_seed(const struct fsn_seed *seed, const char *args, const char *env, const char *exe);
void fsn_ident_clear(void);
u64 fsn_images_live(void);
u64 fsn_idents_live(void);
extern atomic64_t fsn_no_memory;

/* ---- task.c ----------------------------------------------------------------------------------------- */

/* Bumped when an ancestor, a session or a group leader of somebody may have changed. */
extern atomic64_t fsn_lineage_seq;

/* The slot table of one ring: fsn_ring.slots. */
#define FSN_WAYS	4

/*
 * Everything a task record says that can change without an exec or fork probe telling: compared field by field
 * with what it was when the record was sent. Pointers are there to tell one object from another; where an
 * object's memory may be reused, something of its content stands beside it.
 */
struct fsn_key {
	u64 image_id;
	u64 caps[3];
	u32 ids[8];		/* uid euid suid fsuid gid egid sgid fsgid */
	u64 parent_start;
	u64 fdlimit;
	const void *pwd_dentry, *pwd_mnt, *pwd_inode;
	const void *root_dentry, *root_mnt;
	const void *user_ns, *pid_ns, *nsproxy;
	const void *tty;
	const void *css_set;
	u64 cgroup_id;
	u64 pwd_name;		/* name hash and length of the cwd */
	s32 ppid, pgid, sid;
	u32 loginuid, sessionid;
	u64 comm_now[FSN_COMM / sizeof(u64)];
};

struct fsn_slot {
	u32 epoch;		/* of the ring when sent; anything else: empty */
	u32 gen;
	pid_t tid;
	bool unstable;		/* an ancestor is on its way out: check the lineage every time */
	u16 index;		/* in fsn_ring.slots */
	u64 start;
	u64 lineage_seq;
	u64 lineage_hash;
	u32 rename_seq;
	u32 cwd_hash;
	char comm[FSN_COMM];
	struct fsn_key key;
};

/* The slot that was last found to be current's on @ring; false where there is none. */
bool fsn_task_find_recent(struct fsn_ring *ring);

static inline void fsn_task_set_recent(struct fsn_ring *ring, struct fsn_slot *slot)
{
	ring->recent = slot;
	ring->recent_interest = &ring->consumer->interest[slot->index];
}

/*
 * Whether the consumer may have said that it wants nothing of this class from current: a look at a slot without comparing the
 * task, so only a hint.
 */
static inline bool fsn_task_seems_masked(struct fsn_ring *ring, u8 class)
{
	if (unlikely(!ring->recent || ring->recent->tid != current->pid) && !fsn_task_find_recent(ring))
		return false;
	return READ_ONCE(ring->recent_interest->gen) == ring->recent->gen &&
	       !(READ_ONCE(ring->recent_interest->mask) >> class & 1);
}

/* ---- probe.c ------------------------------------------------------------------------------------------ */

int fsn_probes_start(u32 tracepoints);
void fsn_probes_stop(void);
u32 fsn_probes_attached(void);
int fsn_probes_init(void);
/* Makes @heeded of what is wanted. process, device lock. */
void fsn_probes_heed(void);
void fsn_probes_exit(void);

/* What the probes test first; written under the device lock. */
struct fsn_probe_config {
	pid_t consumer;		/* tgid that is never traced */
	u32 tracepoints;
	u8 wanted[FSN_SYSCALLS];
	u8 class[FSN_SYSCALLS];
	/* by number: why it is looked at (probe.c), 0: it is not */
	u8 heeded[FSN_NUMBERS];
};
extern struct fsn_probe_config fsn_probe_config;

#endif /* FSN_TASK_H */
