// SPDX-License-Identifier: GPL-2.0
/*
 * Task slots: what the consumer of a ring has been told about which task.
 *
 * A slot holds the key of the task record it was last sent: everything in the record that can change without
 * a probe being told, compared with the task's present state before every event. What changes elsewhere -
 * an ancestor's exec, its death - is announced by fsn_lineage_seq, and the lineage is walked again.
 *
 * Context: probe, on current, for the ring of this CPU. No locks of our own; other tasks are read under RCU, and
 * what is read of them is a snapshot like any other.
 */
#include "compat.h"
#include <linux/dcache.h>
#include <linux/hash.h>
#include <linux/jhash.h>
#include <linux/kdev_t.h>
#include <linux/tty.h>
#include <linux/tty_driver.h>

#include "ring.h"
#include "task.h"

atomic64_t fsn_lineage_seq = ATOMIC64_INIT(1);

/* ---- the key ----------------------------------------------------------------------------------------- */

/*
 * What a field of a key is now: written to it, or compared with it. What differs gathers in bits, without a branch; the
 * compiler makes two functions of what names the fields once.
 */
#define KEY_FIELD(field, value)						\
do {									\
	typeof(field) fsn_now = (value);				\
									\
	if (write)							\
		field = fsn_now;					\
	else								\
		differs |= (u64)((field) ^ fsn_now);			\
} while (0)

/* The same of a pointer. */
#define KEY_POINTER(field, value)					\
do {									\
	const void *fsn_now = (value);					\
									\
	if (write)							\
		field = fsn_now;					\
	else								\
		differs |= (unsigned long)(field) ^ (unsigned long)fsn_now; \
} while (0)

static __always_inline u64 key_creds(struct fsn_key *k, bool write)
{
	const struct cred *c = current_cred();
	u64 differs = 0;

	KEY_FIELD(k->ids[0], fsn_uid(c->uid));
	KEY_FIELD(k->ids[1], fsn_uid(c->euid));
	KEY_FIELD(k->ids[2], fsn_uid(c->suid));
	KEY_FIELD(k->ids[3], fsn_uid(c->fsuid));
	KEY_FIELD(k->ids[4], fsn_gid(c->gid));
	KEY_FIELD(k->ids[5], fsn_gid(c->egid));
	KEY_FIELD(k->ids[6], fsn_gid(c->sgid));
	KEY_FIELD(k->ids[7], fsn_gid(c->fsgid));
	KEY_FIELD(k->caps[0], fsn_cap(c->cap_inheritable));
	KEY_FIELD(k->caps[1], fsn_cap(c->cap_permitted));
	KEY_FIELD(k->caps[2], fsn_cap(c->cap_effective));
	KEY_POINTER(k->user_ns, c->user_ns);
	return differs;
}

static __always_inline u64 key_paths(struct fsn_key *k, bool write)
{
	struct fs_struct *fs = current->fs;
	struct path pwd = {};
	struct path root = {};
	u64 differs = 0;

	if (likely(fs))		/* not exiting */
		fsn_fs_paths(fs, &pwd, &root);
	KEY_POINTER(k->pwd_dentry, pwd.dentry);
	KEY_POINTER(k->pwd_mnt, pwd.mnt);
	KEY_POINTER(k->pwd_inode, fs ? READ_ONCE(pwd.dentry->d_inode) : NULL);
	KEY_FIELD(k->pwd_name, fs ? pwd.dentry->d_name.hash_len : 0);
	KEY_POINTER(k->root_dentry, root.dentry);
	KEY_POINTER(k->root_mnt, root.mnt);
	return differs;
}

static __always_inline u64 key_cgroup(struct fsn_key *k, bool write)
{
	u64 differs = 0;
#ifdef CONFIG_CGROUPS
	struct css_set *set = fsn_css_set(current);
	struct cgroup *cgrp = fsn_cgroup_default(set);

	KEY_POINTER(k->css_set, set);
	KEY_FIELD(k->cgroup_id, cgrp ? fsn_cgroup_id(cgrp) : 0);
#else
	KEY_POINTER(k->css_set, NULL);
	KEY_FIELD(k->cgroup_id, 0);
#endif
	return differs;
}

/* Every field of it: written, or 0 when each is what it was. */
static __always_inline u64 key_of_current(struct fsn_key *k, const struct fsn_image *image, bool write)
{
	struct task_struct *parent = rcu_dereference(current->real_parent);
	struct signal_struct *sig = current->signal;
	u64 differs = 0;

	KEY_FIELD(k->image_id, image ? image->rec.id : 0);
	differs |= key_creds(k, write) | key_paths(k, write) | key_cgroup(k, write);
	KEY_FIELD(k->ppid, parent->tgid);
	KEY_FIELD(k->parent_start, fsn_task_start(parent->group_leader));
	KEY_FIELD(k->pgid, pid_nr(task_pgrp(current)));
	KEY_FIELD(k->sid, pid_nr(task_session(current)));
	KEY_FIELD(k->fdlimit, READ_ONCE(sig->rlim[RLIMIT_NOFILE].rlim_cur));
	KEY_POINTER(k->tty, READ_ONCE(sig->tty));
	KEY_POINTER(k->nsproxy, current->nsproxy);
	KEY_POINTER(k->pid_ns, task_active_pid_ns(current));
	KEY_FIELD(k->loginuid, fsn_loginuid());
	KEY_FIELD(k->sessionid, fsn_sessionid());
	KEY_FIELD(k->comm_now[0], fsn_word_at(current->comm));
	KEY_FIELD(k->comm_now[1], fsn_word_at(current->comm + sizeof(u64)));
	return differs;
}

static noinline void key_write(struct fsn_key *k, const struct fsn_image *image)
{
	key_of_current(k, image, true);
}

/* ---- lineage ------------------------------------------------------------------------------------------- */

/* One step towards init; NULL at the top. RCU. */
static struct task_struct *parent_of(struct task_struct *t)
{
	struct task_struct *p = rcu_dereference(t->real_parent);

	return p && p->tgid && p != t ? p->group_leader : NULL;
}

static struct task_struct *leader_of(struct pid *pid)
{
	return pid ? pid_task(pid, PIDTYPE_PID) : NULL;
}

/* Number of relatives besides the lineage, and who they are. RCU. */
static unsigned int other_relatives(struct task_struct *who[2], u32 what[2])
{
	struct task_struct *session = leader_of(task_session(current));
	struct task_struct *group = leader_of(task_pgrp(current));
	unsigned int n = 0;

	if (session) {
		who[n] = session;
		what[n++] = FSN_REL_SESSION | (group == session ? FSN_REL_GROUP : 0);
	}
	if (group && group != session) {
		who[n] = group;
		what[n++] = FSN_REL_GROUP;
	}
	return n;
}

static unsigned int lineage_max(void)
{
	return fsn_capture_config.features & FSN_CAP_LINEAGE ? FSN_LINEAGE_MAX : 1;
}

static u64 hash_relative(u64 hash, struct task_struct *t, bool *unstable)
{
	struct fsn_ident *ident = fsn_ident_find(t);
	struct fsn_image *image = ident ? rcu_dereference(ident->image) : NULL;

	if (t->flags & PF_EXITING)
		*unstable = true;
	hash = (hash ^ fsn_task_start(t)) * 0x9e3779b97f4a7c15ULL;
	hash = (hash ^ (u32)t->tgid) * 0x9e3779b97f4a7c15ULL;
	return (hash ^ (image ? image->rec.id : 0)) * 0x9e3779b97f4a7c15ULL;
}

/* Tells one state of the whole family from another. */
static u64 lineage_hash(bool *unstable)
{
	struct task_struct *p, *who[2];
	unsigned int n, max = lineage_max();
	u32 what[2];
	u64 hash = 0;

	*unstable = false;
	for (n = 0, p = parent_of(current); p && n < max; p = parent_of(p), n++)
		hash = hash_relative(hash, p, unstable);
	for (n = other_relatives(who, what); n; n--)
		hash = hash_relative(hash, who[n - 1], unstable);
	return hash;
}

/* The controlling terminal of current. */
static u32 tty_of_current(void)
{
	struct tty_struct *tty;
	u32 dev = 0;

	tty = get_current_tty();	/* takes the signal lock */
	if (tty) {
		dev = new_encode_dev(tty_devnum(tty));
		tty_kref_put(tty);
	}
	return dev;
}

/* Appends @t as a relative; its image has been sent before. False: no room. */
static bool put_relative(struct fsn_out *o, struct task_struct *t, u32 flags)
{
	struct fsn_ident *ident = fsn_ident_find(t);
	struct fsn_image *image = ident ? rcu_dereference(ident->image) : NULL;
	struct fsn_relative *rel = fsn_out_put(o, sizeof(*rel));
	struct task_struct *parent = rcu_dereference(t->real_parent);
	struct pid *session, *group;
	struct pid_namespace *ns;

	if (!rel)
		return false;
	/* an image made after the send loop ran is left out: its turn comes with the next record */
	if (image && image->sent[o->ring->cpu] != o->ring->epoch)
		image = NULL;
	session = task_session(t);
	group = task_pgrp(t);
	memset(rel, 0, sizeof(*rel));
	rel->exec_id = image ? image->rec.id : 0;
	rel->start = fsn_task_start(t);
	rel->pid = t->tgid;
	rel->ppid = parent ? parent->tgid : 0;
	ns = task_active_pid_ns(t);	/* none once it has been reaped, and kernels differ in what they do then */
	rel->vpid = ns ? task_tgid_nr_ns(t, ns) : 0;
	rel->pgid = pid_nr(group);
	rel->sid = pid_nr(session);
	rel->uid = fsn_uid(task_cred_xxx(t, euid));
	rel->loginuid = fsn_loginuid_of(t);
	rel->flags = flags;
	if (t->flags & PF_KTHREAD)
		rel->flags |= FSN_REL_KTHREAD;
	if (t->flags & PF_EXITING)
		rel->flags |= FSN_REL_EXITING;
	fsn_copy_comm(rel->comm, ident ? ident->comm : t->comm);
	return true;
}

static bool send_image_of(struct fsn_ring *ring, struct task_struct *t)
{
	struct fsn_ident *ident = fsn_ident_find(t);
	struct fsn_image *image = ident ? rcu_dereference(ident->image) : NULL;

	return !image || fsn_image_send(ring, image);
}

/* Every image the task record will name goes ahead of it. False: no room. */
static bool send_images(struct fsn_ring *ring, struct fsn_image *own)
{
	struct task_struct *p, *who[2];
	unsigned int n, max = lineage_max();
	u32 what[2];

	if (own && !fsn_image_send(ring, own))
		return false;
	for (n = 0, p = parent_of(current); p && n < max; p = parent_of(p), n++)
		if (!send_image_of(ring, p))
			return false;
	for (n = other_relatives(who, what); n; n--)
		if (!send_image_of(ring, who[n - 1]))
			return false;
	return true;
}

/* False: no room, or more ancestors than the limit (flagged in @rec). */
static bool put_relatives(struct fsn_out *o, struct fsn_task *rec)
{
	unsigned int n, others, max = lineage_max();
	struct task_struct *p, *who[2];
	u32 what[2];

	others = other_relatives(who, what);
	for (n = 0, p = parent_of(current); p && n < max; p = parent_of(p), n++) {
		u32 flags = FSN_REL_PARENT;
		unsigned int i;

		for (i = 0; i < others; i++) {
			if (who[i] != p)
				continue;
			flags |= what[i];
			what[i] = 0;
		}
		if (!put_relative(o, p, flags))
			return false;
		rec->nrelatives++;
	}
	if (p && max == FSN_LINEAGE_MAX)
		rec->flags |= FSN_TASK_LINEAGE_CUT;
	for (n = 0; n < others; n++) {
		if (!what[n] || who[n] == current->group_leader)
			continue;
		if (!put_relative(o, who[n], what[n]))
			return false;
		rec->nrelatives++;
	}
	return true;
}

/* ---- paths and cgroups ----------------------------------------------------------------------------------- */

static u32 put_text(struct fsn_out *o, const char *text, u32 len)
{
	char *to = len ? fsn_out_put(o, len) : NULL;

	if (!to)
		return 0;
	memcpy(to, text, len);
	return len;
}

/* The current directory, and where the root lies when it is not its mount's. */
static bool put_paths(struct fsn_out *o, struct fsn_task *rec, u32 *cwd_hash)
{
	char *scratch = fsn_scratch(o->ring);
	struct path pwd, root;
	const char *text = "";
	u32 len, flags = 0;

	if (!current->fs)
		return true;
	fsn_fs_paths(current->fs, &pwd, &root);
	len = fsn_path_text(o->ring, &pwd, scratch, FSN_PATH_MAX, &text, &flags);
	*cwd_hash = jhash(text, len, 0);
	rec->cwd_len = put_text(o, text, len);
	if (rec->cwd_len != len)
		return false;
	if (flags & FSN_FD_DELETED)
		rec->flags |= FSN_TASK_CWD_DELETED;
	if (flags & FSN_FD_OUTSIDE)
		rec->flags |= FSN_TASK_CWD_OUTSIDE;
	if (root.dentry != root.mnt->mnt_root) {
		rec->flags |= FSN_TASK_CHROOT;
		text = dentry_path_raw(root.dentry, scratch, FSN_PATH_MAX);
		if (IS_ERR(text))
			text = "";
		len = strlen(text);
		rec->root_len = put_text(o, text, len);
		return rec->root_len == len;
	}
	return true;
}

/* "=PATH" of the default hierarchy and "CONTROLLER=PATH" of the others, each with its NUL. */
static bool put_cgroups(struct fsn_out *o, struct fsn_task *rec)
{
#ifdef CONFIG_CGROUPS
	struct css_set *set = fsn_css_set(current);
	char *scratch = fsn_scratch(o->ring);
	char *start = o->pos;
	int i, n;

	for (i = -1; i < CGROUP_SUBSYS_COUNT; i++) {
		const char *name = "";
		struct cgroup *cgrp = i < 0 ? fsn_cgroup_default(set)
					    : fsn_cgroup_v1(set, i, &name);
		char *to;

		if (!cgrp)
			continue;
		n = fsn_cgroup_path(cgrp, scratch, FSN_PATH_MAX);
		if (o->pos - start + strlen(name) + n + 2 > FSN_PATH_MAX)
			break;	/* a path repeated per controller: the first ones tell the container */
		to = fsn_out_put(o, strlen(name) + n + 2);
		if (!to)
			return false;
		memcpy(to, name, strlen(name));
		to += strlen(name);
		*to++ = '=';
		memcpy(to, scratch, n);
		to[n] = 0;
	}
	rec->cgroups_len = o->pos - start;
#endif
	return true;
}

/* ---- the record ------------------------------------------------------------------------------------------ */

static void fill_ids(struct fsn_task *rec, const struct fsn_key *k)
{
	struct pid_namespace *ns = task_active_pid_ns(current);
	struct nsproxy *proxy = current->nsproxy;
	struct task_struct *init;

	rec->tid = current->pid;
	rec->pid = current->tgid;
	rec->ppid = k->ppid;
	rec->pgid = k->pgid;
	rec->sid = k->sid;
	rec->vtid = task_pid_nr_ns(current, ns);
	rec->vpid = task_tgid_nr_ns(current, ns);
	rec->vpgid = task_pgrp_nr_ns(current, ns);
	rec->vsid = task_session_nr_ns(current, ns);
	rec->uid = k->ids[0];
	rec->euid = k->ids[1];
	rec->suid = k->ids[2];
	rec->fsuid = k->ids[3];
	rec->gid = k->ids[4];
	rec->egid = k->ids[5];
	rec->sgid = k->ids[6];
	rec->fsgid = k->ids[7];
	rec->cap_inheritable = k->caps[0];
	rec->cap_permitted = k->caps[1];
	rec->cap_effective = k->caps[2];
	rec->loginuid = k->loginuid;
	rec->sessionid = k->sessionid;
	rec->fdlimit = k->fdlimit;
	rec->start = fsn_task_start(current);
	rec->pid_start = fsn_task_start(current->group_leader);
	rec->user_ns = fsn_ns_inum(current_cred()->user_ns);
	if (ns) {
		rec->pid_ns = fsn_ns_inum(ns);
		init = ns->child_reaper;
		rec->pidns_init_start = init ? fsn_task_start(init) : 0;
	}
	if (proxy) {
		rec->net_ns = fsn_ns_inum(proxy->net_ns);
		rec->uts_ns = fsn_ns_inum(proxy->uts_ns);
#ifdef CONFIG_IPC_NS
		rec->ipc_ns = fsn_ns_inum(proxy->ipc_ns);
#endif
		rec->cgroup_ns = fsn_cgroup_ns();
	}
}

static bool put_record(struct fsn_ring *ring, struct fsn_slot *slot, const struct fsn_ident *leader,
		       const struct fsn_ident *self, const struct fsn_image *image)
{
	struct fsn_task *rec;
	struct fsn_out o;

	if (!fsn_out_begin(&o, ring, FSN_REC_TASK, slot->index, sizeof(*rec)))
		return false;
	rec = (struct fsn_task *)o.start;
	memset((char *)rec + sizeof(rec->h), 0, sizeof(*rec) - sizeof(rec->h));
	rec->gen = slot->gen + 1 ? slot->gen + 1 : 1;
	rec->exec_id = image ? image->rec.id : 0;
	fill_ids(rec, &slot->key);
	rec->tty = slot->key.tty ? tty_of_current() : 0;
	if (leader) {
		rec->birth_exec_id = leader->birth_exec_id;
		rec->birth_ppid = leader->birth_ppid;
	}
	fsn_copy_comm(rec->comm, self ? self->comm : current->comm);
	memcpy(rec->comm_now, slot->key.comm_now, FSN_COMM);
	if (current->flags & PF_KTHREAD)
		rec->flags |= FSN_TASK_KTHREAD;
	else if (!image)
		rec->flags |= FSN_TASK_NO_EXEC;
	if (fsn_task_compat())
		rec->flags |= FSN_TASK_COMPAT;
	if (fsn_child_pidns() != &init_pid_ns)
		rec->flags |= FSN_TASK_CHILD_PIDNS;
	if (!put_relatives(&o, rec) || !put_paths(&o, rec, &slot->cwd_hash) || !put_cgroups(&o, rec))
		return false;
	slot->gen = rec->gen;
	fsn_out_commit(&o);
	ring->producer->tasks++;
	return true;
}

/* ---- slots ------------------------------------------------------------------------------------------------ */

static __always_inline bool is_current(const struct fsn_ring *ring, const struct fsn_slot *slot)
{
	return slot->epoch == ring->epoch && slot->tid == current->pid && slot->start == fsn_task_start(current);
}

/* The first of the FSN_WAYS slots that may be current's. */
static struct fsn_slot *slots_of_current(struct fsn_ring *ring)
{
	return &ring->slots[hash_32(current->pid, ilog2(FSN_SLOTS / FSN_WAYS)) * FSN_WAYS];
}

/* The slot that is current's, or NULL. */
static noinline struct fsn_slot *slot_among_ways(struct fsn_ring *ring)
{
	struct fsn_slot *slot = slots_of_current(ring);
	u32 i;

	for (i = 0; i < FSN_WAYS; i++)
		if (is_current(ring, &slot[i]))
			return &slot[i];
	return NULL;
}

static __always_inline struct fsn_slot *slot_find(struct fsn_ring *ring)
{
	if (likely(ring->recent && is_current(ring, ring->recent)))
		return ring->recent;
	return slot_among_ways(ring);
}

/* The slot to use for current, which has none. */
static struct fsn_slot *slot_victim(struct fsn_ring *ring)
{
	struct fsn_slot *slot = slots_of_current(ring);
	u32 i;

	for (i = FSN_WAYS; i--;)
		if (slot[i].epoch != ring->epoch)
			return &slot[i];
	return &slot[(ring->head >> 3) % FSN_WAYS];
}

/*
 * Whether a rename somewhere left the current directory's path as it was: rename_lock changes with every one in the
 * system and tells nothing more. (A mount that is moved while somebody's cwd is inside is not seen.)
 */
static noinline bool cwd_unmoved(struct fsn_ring *ring, struct fsn_slot *slot, u32 seq)
{
	struct path pwd, root;
	const char *text = "";
	u32 len, flags;

	if (!current->fs)
		return true;
	fsn_fs_paths(current->fs, &pwd, &root);
	len = fsn_path_text(ring, &pwd, fsn_scratch(ring), FSN_PATH_MAX, &text, &flags);
	if (jhash(text, len, 0) != slot->cwd_hash)
		return false;
	slot->rename_seq = seq;
	return true;
}

static __always_inline bool cwd_unchanged(struct fsn_ring *ring, struct fsn_slot *slot, u32 seq)
{
	return likely(seq == slot->rename_seq) || cwd_unmoved(ring, slot, seq);
}

static noinline bool lineage_is_same(struct fsn_slot *slot, u64 seq)
{
	if (lineage_hash(&slot->unstable) != slot->lineage_hash)
		return false;
	slot->lineage_seq = seq;
	return true;
}

static __always_inline bool lineage_unchanged(struct fsn_slot *slot, u64 seq)
{
	return likely(seq == slot->lineage_seq && !slot->unstable) || lineage_is_same(slot, seq);
}

bool fsn_task_find_recent(struct fsn_ring *ring)
{
	struct fsn_slot *slot = slot_among_ways(ring);

	if (slot)
		fsn_task_set_recent(ring, slot);
	return slot;
}

/* Tells the consumer that @slot is current's, and who that is; NULL: one is chosen. Returns it, or NULL: no room. */
static noinline struct fsn_slot *slot_fill(struct fsn_ring *ring, struct fsn_slot *slot, struct fsn_image *image,
					   u64 lineage_seq, u32 rename_seq)
{
	struct fsn_ident *leader, *self;

	if (!slot)
		slot = slot_victim(ring);
	slot->epoch = 0;	/* nobody's until the record is in the ring */
	key_write(&slot->key, image);
	slot->lineage_hash = lineage_hash(&slot->unstable);
	slot->lineage_seq = lineage_seq;
	slot->rename_seq = rename_seq;
	leader = fsn_ident_find(current->group_leader);
	self = fsn_ident_get(ring, current);
	if (!send_images(ring, image) || !put_record(ring, slot, leader, self, image))
		return NULL;
	slot->tid = current->pid;
	slot->start = fsn_task_start(current);
	slot->epoch = ring->epoch;
	return slot;
}

struct fsn_slot *fsn_task_slot(struct fsn_ring *ring)
{
	u32 rename_seq = fsn_seqlock_sequence(&rename_lock);
	u64 lineage_seq = atomic64_read(&fsn_lineage_seq);
	struct fsn_image *image = fsn_image_current(ring);
	struct fsn_slot *slot;

	fsn_ring_check_reset(ring);
	slot = slot_find(ring);
	if (unlikely(!slot || key_of_current(&slot->key, image, false) || !lineage_unchanged(slot, lineage_seq) ||
		     !cwd_unchanged(ring, slot, rename_seq))) {
		slot = slot_fill(ring, slot, image, lineage_seq, rename_seq);
		if (!slot)
			return NULL;
	}
	fsn_task_set_recent(ring, slot);
	return slot;
}
