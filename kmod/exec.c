// SPDX-License-Identifier: GPL-2.0
/*
 * Exec records ("images") and thread identities: what the kernel does not remember about processes.
 *
 * An image is made in the process's own context at exec, when its arguments can be read, and shared by
 * reference with every fork. An identity keeps, per thread, its name at exec or clone and, per process, its image.
 * Processes older than the module get theirs from the consumer (FSN_IOC_SEED) or, when they make a system
 * call first, from their own memory.
 *
 * Context: probes look up under RCU and change buckets under a raw spinlock with interrupts off, because
 * identities are also removed from RCU callbacks (sched_process_free, softirq). Memory is GFP_ATOMIC and
 * capped; a failure is counted and mended by the task's next event.
 * Who frees: the last identity that names an image frees it; identities go when the kernel frees the task, or all
 * at once when tracing stops. Both after a grace period (kfree_rcu), so no callback outlives the module.
 */
#include "compat.h"
#include <linux/binfmts.h>
#include <linux/hash.h>
#include <linux/kdev_t.h>

#include "ring.h"
#include "task.h"
#include "user.h"

#define BUCKET_BITS	12
#define LOCKS		256

static struct hlist_head buckets[1 << BUCKET_BITS];
static raw_spinlock_t locks[LOCKS];
static atomic64_t next_id = ATOMIC64_INIT(0);
static atomic64_t images = ATOMIC64_INIT(0);
static atomic64_t image_bytes = ATOMIC64_INIT(0);
static atomic64_t idents = ATOMIC64_INIT(0);
atomic64_t fsn_no_memory = ATOMIC64_INIT(0);

static unsigned int max_image_mib = 128;
module_param(max_image_mib, uint, 0644);
MODULE_PARM_DESC(max_image_mib, "memory that exec records may take, MiB (default 128)");

static u32 bucket_of(pid_t tid)
{
	return hash_32(tid, BUCKET_BITS);
}

static raw_spinlock_t *lock_of(u32 bucket)
{
	return &locks[bucket & (LOCKS - 1)];
}

/* ---- images ----------------------------------------------------------------------------------------- */

static char *image_texts(struct fsn_image *image)
{
	return (char *)(&image->rec + 1);
}

static struct fsn_image *image_alloc(u32 texts, gfp_t gfp)
{
	u32 bytes = sizeof(struct fsn_image) + ALIGN(texts, 8) + nr_cpu_ids * sizeof(u32);
	struct fsn_image *image = NULL;

	if (atomic64_add_return(bytes, &image_bytes) <= (s64)READ_ONCE(max_image_mib) << 20)
		image = kmalloc(bytes, gfp | __GFP_NOWARN);
	if (!image) {
		atomic64_sub(bytes, &image_bytes);
		atomic64_inc(&fsn_no_memory);
		return NULL;
	}
	memset(image, 0, bytes);
	refcount_set(&image->refs, 1);
	image->bytes = bytes;
	image->sent = (u32 *)(image_texts(image) + ALIGN(texts, 8));
	image->rec.id = atomic64_inc_return(&next_id);
	atomic64_inc(&images);
	return image;
}

static void image_put(struct fsn_image *image)
{
	if (!image || !refcount_dec_and_test(&image->refs))
		return;
	atomic64_sub(image->bytes, &image_bytes);
	atomic64_dec(&images);
	kfree_rcu(image, rcu);
}

static bool file_is_memfd(const struct dentry *dentry)
{
	return dentry->d_parent == dentry && !strncmp(dentry->d_name.name, "memfd:", 6);
}

/* What the executable file is. probe or process; holds a reference on @file. */
static void image_file(struct fsn_exec *rec, struct file *file)
{
	struct dentry *dentry = file->f_path.dentry;
	struct inode *inode = file_inode(file);
	u32 layer = fsn_overlay_layer(dentry);

	rec->exe_ino = inode->i_ino;
	rec->exe_dev = new_encode_dev(inode->i_sb->s_dev);
	rec->exe_mode = inode->i_mode;
	rec->exe_uid = fsn_uid(inode->i_uid);
	rec->exe_gid = fsn_gid(inode->i_gid);
	rec->exe_ctime = fsn_inode_ctime(inode);
	rec->exe_mtime = fsn_inode_mtime(inode);
	if (layer & FSN_FD_UPPER)
		rec->flags |= FSN_EXEC_UPPER;
	if (layer & FSN_FD_LOWER)
		rec->flags |= FSN_EXEC_LOWER;
	if (file_is_memfd(dentry))
		rec->flags |= FSN_EXEC_MEMFD;
	if (d_unlinked(dentry))
		rec->flags |= FSN_EXEC_DELETED;
}

/* An area of the process's own memory that holds texts: the arguments, the environment. */
struct area {
	unsigned long from;
	u32 total;		/* bytes there */
	u32 want;		/* bytes of them to keep */
};

static struct area area_of(unsigned long from, unsigned long to)
{
	unsigned long len = to > from ? to - from : 0;

	return (struct area) {
		.from = from,
		.total = min_t(unsigned long, len, U32_MAX),
		.want = min_t(unsigned long, len, FSN_ARGS_MAX),
	};
}

/* Copies @area to @text; returns the bytes there were. */
static u32 area_copy(char *text, const struct area *area, u32 *flags, u32 cut, u32 fault)
{
	u32 got = area->want ? fsn_user_bytes(text, (const void __user *)area->from, area->want) : 0;

	if (area->total > area->want)
		*flags |= cut;
	if (got < area->want)
		*flags |= fault;
	return got;
}

/*
 * Makes the image of current from its own memory. @filename is what exec was given, or NULL when the image is made
 * late. probe.
 */
static struct fsn_image *image_make(struct fsn_ring *ring, const char *filename, u64 prev_id)
{
	struct mm_struct *mm = current->mm;
	struct fsn_image *image;
	struct fsn_exec *rec;
	struct file *file;
	const char *exe = "";
	bool want_env = fsn_capture_config.features & FSN_CAP_ENV;
	u32 exe_len = 0, name_len, path_flags = 0;
	struct area args, env = {};
	char *text;

	if (!mm)
		return NULL;
	file = fsn_mm_exe_file(mm);
	if (file)
		exe_len = fsn_path_text(ring, &file->f_path, fsn_scratch(ring), FSN_PATH_MAX, &exe,
					&path_flags);
	name_len = filename ? strnlen(filename, FSN_PATH_MAX) : 0;
	args = area_of(READ_ONCE(mm->arg_start), READ_ONCE(mm->arg_end));
	if (want_env)
		env = area_of(READ_ONCE(mm->env_start), READ_ONCE(mm->env_end));
	image = image_alloc(exe_len + name_len + args.want + env.want, GFP_ATOMIC);
	if (!image)
		goto out;
	rec = &image->rec;
	rec->prev_id = prev_id;
	rec->pid = current->tgid;
	if (filename)
		rec->exec_time = fsn_clock();
	else
		rec->flags |= FSN_EXEC_LAZY;
	fsn_copy_comm(rec->comm, current->comm);
	if (file)
		image_file(rec, file);
	if (path_flags & FSN_FD_DELETED)
		rec->flags |= FSN_EXEC_DELETED;
	if (path_flags & FSN_FD_OUTSIDE)
		rec->flags |= FSN_EXEC_OUTSIDE;
	text = image_texts(image);
	memcpy(text, exe, exe_len);
	rec->exe_len = exe_len;
	text += exe_len;
	if (name_len)
		memcpy(text, filename, name_len);
	rec->filename_len = name_len;
	text += name_len;
	rec->args_total = args.total;
	rec->args_len = area_copy(text, &args, &rec->flags, FSN_EXEC_ARGS_CUT, FSN_EXEC_ARGS_FAULT);
	text += rec->args_len;
	rec->env_total = env.total;
	rec->env_len = area_copy(text, &env, &rec->flags, FSN_EXEC_ENV_CUT, FSN_EXEC_ENV_FAULT);
	if (!want_env)
		rec->flags |= FSN_EXEC_NO_ENV;
	if (rec->flags & (FSN_EXEC_ARGS_FAULT | FSN_EXEC_ENV_FAULT))
		fsn_count_fault(ring);
out:
	if (file)
		fput(file);
	return image;
}

bool fsn_image_send(struct fsn_ring *ring, struct fsn_image *image)
{
	struct fsn_exec *rec = &image->rec;
	u32 len = rec->exe_len + rec->filename_len + rec->args_len + rec->env_len;
	struct fsn_exec *to;
	struct fsn_out o;
	char *text;

	if (image->sent[ring->cpu] == ring->epoch)
		return true;
	if (!fsn_out_begin(&o, ring, FSN_REC_EXEC, FSN_SLOT_NONE, sizeof(*rec)))
		return false;
	text = fsn_out_put(&o, len);
	if (!text)
		return false;
	to = (struct fsn_exec *)o.start;
	memcpy((char *)to + sizeof(to->h), (char *)rec + sizeof(rec->h), sizeof(*rec) - sizeof(rec->h));
	memcpy(text, image_texts(image), len);
	fsn_out_commit(&o);
	ring->producer->execs++;
	image->sent[ring->cpu] = ring->epoch;
	return true;
}

/* ---- identities --------------------------------------------------------------------------------------- */

/* RCU or the bucket's lock. */
static struct fsn_ident *find(u32 bucket, pid_t tid, u64 start)
{
	struct fsn_ident *ident;

	fsn_hlist_for_each_rcu(ident, &buckets[bucket], node,
			       lockdep_is_held(lock_of(bucket)) || rcu_read_lock_held())
		if (ident->tid == tid && ident->start == start)
			return ident;
	return NULL;
}

struct fsn_ident *fsn_ident_find(const struct task_struct *t)
{
	return find(bucket_of(t->pid), t->pid, fsn_task_start(t));
}

static void ident_release(struct fsn_ident *ident)
{
	image_put(xchg((struct fsn_image __force **)&ident->image, NULL));
	atomic64_dec(&idents);
	kfree_rcu(ident, rcu);
}

/* Adds an identity of @t unless there is one; returns the one that is in the table, or NULL without memory. */
static struct fsn_ident *ident_add(struct task_struct *t, gfp_t gfp)
{
	u32 bucket = bucket_of(t->pid);
	struct fsn_ident *ident, *old;
	unsigned long flags;

	ident = kzalloc(sizeof(*ident), gfp | __GFP_NOWARN);
	if (!ident) {
		atomic64_inc(&fsn_no_memory);
		return NULL;
	}
	ident->task = t;
	ident->tid = t->pid;
	ident->start = fsn_task_start(t);
	fsn_copy_comm(ident->comm, t->comm);
	raw_spin_lock_irqsave(lock_of(bucket), flags);
	old = find(bucket, ident->tid, ident->start);
	if (!old)
		hlist_add_head_rcu(&ident->node, &buckets[bucket]);
	raw_spin_unlock_irqrestore(lock_of(bucket), flags);
	if (old) {
		kfree(ident);
		return old;
	}
	atomic64_inc(&idents);
	return ident;
}

/* Takes @tid's identity out of the table when it is @task's (NULL: anybody's). Any context. */
static void ident_remove(pid_t tid, const struct task_struct *task)
{
	u32 bucket = bucket_of(tid);
	struct fsn_ident *ident, *found = NULL;
	unsigned long flags;

	raw_spin_lock_irqsave(lock_of(bucket), flags);
	hlist_for_each_entry(ident, &buckets[bucket], node) {
		if (ident->tid == tid && ident->task == task) {
			hlist_del_rcu(&ident->node);
			found = ident;
			break;
		}
	}
	raw_spin_unlock_irqrestore(lock_of(bucket), flags);
	if (found)
		ident_release(found);
}

struct fsn_ident *fsn_ident_get(struct fsn_ring *ring, struct task_struct *t)
{
	struct fsn_ident *ident = fsn_ident_find(t);

	return ident ? ident : ident_add(t, GFP_ATOMIC);
}

struct fsn_image *fsn_image_current(struct fsn_ring *ring)
{
	struct fsn_ident *ident = fsn_ident_get(ring, current->group_leader);
	struct fsn_image *image, *first;

	if (!ident)
		return NULL;
	image = rcu_dereference(ident->image);
	if (image || !current->mm || current->flags & PF_KTHREAD)
		return image;
	image = image_make(ring, NULL, 0);
	if (!image)
		return NULL;
	/* another thread of the process may have been faster on another CPU */
	first = cmpxchg((struct fsn_image __force **)&ident->image, NULL, image);
	if (first) {
		image_put(image);
		return first;
	}
	return image;
}

/* sched_process_fork: @parent is current, @child has not run yet. */
void fsn_ident_fork(struct fsn_ring *ring, struct task_struct *parent, struct task_struct *child)
{
	struct fsn_image *image = NULL;
	struct fsn_ident *ident;
	bool process = child->pid == child->tgid;

	if (process) {
		image = fsn_image_current(ring);
		if (image && !refcount_inc_not_zero(&image->refs))
			image = NULL;	/* exec of a sibling thread is replacing it: made lazily */
	}
	ident = ident_add(child, GFP_ATOMIC);
	if (!ident) {
		image_put(image);
		return;
	}
	if (process) {
		ident->birth_ppid = parent->tgid;
		ident->birth_exec_id = image ? image->rec.id : 0;
		image_put(xchg((struct fsn_image __force **)&ident->image, image));
	}
}

/*
 * sched_process_exec: current has its new memory, and the tid of its process's leader. @by_syscall: a system call's
 * return will follow (the kernel starts its helpers without one).
 */
void fsn_ident_exec(struct fsn_ring *ring, pid_t old_tid, const char *filename, bool by_syscall)
{
	struct fsn_ident *ident = fsn_ident_get(ring, current);
	struct fsn_image *image, *old;

	if (old_tid != current->pid)
		ident_remove(old_tid, current);
	if (!ident)
		return;
	old = rcu_dereference(ident->image);
	image = image_make(ring, filename, old ? old->rec.id : 0);
	ident->task = current;
	ident->exec_pending = by_syscall;
	fsn_copy_comm(ident->comm, current->comm);
	/* without memory for the new image the old one must not stand: the next event makes it */
	image_put(xchg((struct fsn_image __force **)&ident->image, image));
}

bool fsn_exec_returning(void)
{
	struct fsn_ident *ident = fsn_ident_find(current);

	if (!ident || !ident->exec_pending)
		return false;
	ident->exec_pending = false;
	return true;
}

void fsn_ident_free(const struct task_struct *t)
{
	ident_remove(t->pid, t);
}

/* ---- process context ------------------------------------------------------------------------------------ */

/**
 * fsn_ident_seed - take over what /proc says of a process older than the module
 * @seed: lengths and pid, checked by the caller
 * @args: its command line
 * @env: its environment
 * @exe: its executable as its root sees it
 *
 * Return: 0; -ESRCH no such process; -EEXIST the kernel knows better (it ran or exec'ed meanwhile);
 * -ENOMEM.
 */
int fsn_ident_seed(const struct fsn_seed *seed, const char *args, const char *env, const char *exe)
{
	struct fsn_image *image = NULL;
	struct fsn_ident *ident;
	struct task_struct *t;
	struct mm_struct *mm;
	struct file *file;
	struct pid *pid;
	char *text;
	int err = 0;

	pid = find_get_pid(seed->pid);
	t = pid ? get_pid_task(pid, PIDTYPE_PID) : NULL;
	put_pid(pid);
	if (!t)
		return -ESRCH;
	mm = get_task_mm(t);
	if (mm) {
		image = image_alloc(seed->exe_len + seed->args_len + seed->env_len, GFP_KERNEL);
		if (!image) {
			err = -ENOMEM;
			goto out;
		}
		image->rec.pid = t->tgid;
		image->rec.flags = FSN_EXEC_SEEDED;
		fsn_copy_comm(image->rec.comm, t->comm);
		file = fsn_mm_exe_file(mm);
		if (file) {
			image_file(&image->rec, file);
			fput(file);
		}
		text = image_texts(image);
		memcpy(text, exe, seed->exe_len);
		memcpy(text + seed->exe_len, args, seed->args_len);
		memcpy(text + seed->exe_len + seed->args_len, env, seed->env_len);
		image->rec.exe_len = seed->exe_len;
		image->rec.args_len = seed->args_len;
		image->rec.env_len = seed->env_len;
		image->rec.args_total = seed->args_len;
		image->rec.env_total = seed->env_len;
	}
	rcu_read_lock();
	ident = fsn_ident_find(t);
	if (!ident)
		ident = ident_add(t, GFP_ATOMIC);
	if (!ident)
		err = -ENOMEM;
	else if (image && cmpxchg((struct fsn_image __force **)&ident->image, NULL, image))
		err = -EEXIST;
	rcu_read_unlock();
	if (err)
		image_put(image);
	/* released meanwhile: the probe that forgets it may have come before us */
	if (!pid_alive(t))
		ident_remove(t->pid, t);
out:
	if (mm)
		mmput(mm);
	put_task_struct(t);
	return err;
}

/* No probe is attached any more. */
void fsn_ident_clear(void)
{
	struct fsn_ident *ident;
	struct hlist_node *next;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(buckets); i++) {
		hlist_for_each_entry_safe(ident, next, &buckets[i], node) {
			hlist_del_rcu(&ident->node);
			ident_release(ident);
		}
		cond_resched();
	}
}

u64 fsn_images_live(void)
{
	return atomic64_read(&images);
}

u64 fsn_idents_live(void)
{
	return atomic64_read(&idents);
}

void fsn_exec_init(void)
{
	u32 i;

	for (i = 0; i < LOCKS; i++)
		raw_spin_lock_init(&locks[i]);
}
