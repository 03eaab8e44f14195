/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Every difference between kernel versions, and only here: the rest of the module is written for the newest
 * kernel. One small wrapper per difference, with the version that changed it. Distributions backport, so a
 * feature macro of the header itself is preferred to a version number where one exists.
 */
#ifndef FSN_COMPAT_H
#define FSN_COMPAT_H

#include <linux/version.h>
#include <linux/compiler.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/net.h>
#include <linux/mount.h>
#include <linux/uaccess.h>
#include <linux/slab.h>
#include <linux/rculist.h>
#include <linux/tracepoint.h>
#include <linux/pid_namespace.h>
#include <linux/nsproxy.h>
#include <linux/utsname.h>
#include <linux/ipc_namespace.h>
#include <linux/user_namespace.h>
#include <linux/cgroup.h>
#include <linux/audit.h>
#include <linux/poll.h>
#include <linux/ktime.h>
#include <linux/hrtimer.h>
#include <net/net_namespace.h>
#include <net/sock.h>
#include <asm/syscall.h>

#define FSN_KERNEL(a, b) (LINUX_VERSION_CODE >= KERNEL_VERSION(a, b, 0))

#if LINUX_VERSION_CODE < KERNEL_VERSION(3, 10, 0)
#error "falco_sensor needs Linux 3.10 or later"
#endif
#ifndef CONFIG_TRACEPOINTS
#error "falco_sensor needs a kernel with CONFIG_TRACEPOINTS (CONFIG_FTRACE)"
#endif
#ifndef CONFIG_HAVE_SYSCALL_TRACEPOINTS
#error "falco_sensor needs an architecture with system-call tracepoints"
#endif

/* 4.11 split linux/sched.h. */
#if FSN_KERNEL(4, 11)
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/mm.h>
#include <linux/sched/cputime.h>
#include <linux/sched/clock.h>
#include <linux/sched/task_stack.h>
#endif

/* refcount_t: 4.11. */
#if FSN_KERNEL(4, 11)
#include <linux/refcount.h>
#else
#define refcount_t		atomic_t
#define refcount_set		atomic_set
#define refcount_read		atomic_read
#define refcount_inc		atomic_inc
#define refcount_inc_not_zero	atomic_inc_not_zero
#define refcount_dec_and_test	atomic_dec_and_test
#endif

/* READ_ONCE, WRITE_ONCE: 3.19. */
#ifndef READ_ONCE
#define READ_ONCE(x)		ACCESS_ONCE(x)
#endif
#ifndef WRITE_ONCE
#define WRITE_ONCE(x, v)	(ACCESS_ONCE(x) = (v))
#endif

/* smp_load_acquire, smp_store_release: 3.14. */
#ifndef smp_load_acquire
#define smp_load_acquire(p)						\
({									\
	typeof(*(p)) fsn_v = ACCESS_ONCE(*(p));				\
	smp_mb();							\
	fsn_v;								\
})
#define smp_store_release(p, v)						\
do {									\
	smp_mb();							\
	ACCESS_ONCE(*(p)) = (v);					\
} while (0)
#endif

/* A monotonic clock that may be read anywhere: 3.17; before that the scheduler's. */
static inline u64 fsn_clock(void)
{
#if FSN_KERNEL(3, 17)
	return ktime_get_mono_fast_ns();
#else
	return local_clock();
#endif
}

#define FSN_ONES	0x0101010101010101ULL
#define FSN_HIGH_BITS	0x8080808080808080ULL

/* Eight bytes wherever they begin. */
static __always_inline u64 fsn_word_at(const char *at)
{
	u64 word;

	__builtin_memcpy(&word, at, sizeof(word));
	return word;
}

/*
 * Copies so many bytes, and up to seven more that are there in both: attachments end in padding, texts lie in larger buffers. No
 * memcpy(): of so little it is mostly its beginning.
 */
static __always_inline void fsn_copy_words(char *to, const char *from, unsigned long n)
{
	unsigned long i;

	for (i = 0; i < n; i += sizeof(u64)) {
		u64 word = fsn_word_at(from + i);

		barrier();	/* or it becomes one */
		__builtin_memcpy(to + i, &word, sizeof(word));
	}
}

/* A local variable that is written before it is read: not to be cleared first, as INIT_STACK_ALL_* would (gcc 12, clang). */
#ifdef __has_attribute
#if __has_attribute(uninitialized)
#define fsn_uninit	__attribute__((uninitialized))
#endif
#endif
#ifndef fsn_uninit
#define fsn_uninit
#endif

/* Start of a thread in ns since boot. A timespec until 3.17, renamed in 5.5. */
static inline u64 fsn_task_start(const struct task_struct *t)
{
#if FSN_KERNEL(5, 5)
	return t->start_boottime;
#elif FSN_KERNEL(3, 17)
	return t->real_start_time;
#else
	return (u64)t->real_start_time.tv_sec * NSEC_PER_SEC + t->real_start_time.tv_nsec;
#endif
}

/* Number of the current system call, the same for a call by the x32 entry. */
static inline long fsn_syscall_nr(struct pt_regs *regs)
{
#ifdef __X32_SYSCALL_BIT
	long nr = syscall_get_nr(current, regs);

	return nr < 0 ? nr : nr & ~(long)__X32_SYSCALL_BIT;
#else
	return syscall_get_nr(current, regs);
#endif
}

/* Arguments of the current system call: no (i, n) from 5.1. */
static inline void fsn_syscall_args(struct pt_regs *regs, unsigned long *args)
{
#if FSN_KERNEL(5, 1)
	syscall_get_arguments(current, regs, args);
#else
	syscall_get_arguments(current, regs, 0, 6, args);
#endif
}

/* Whether the current system call came by the 32-bit entry. in_ia32_syscall: 4.6. */
static inline bool fsn_syscall_compat(void)
{
#ifdef CONFIG_X86_64
#if FSN_KERNEL(4, 6)
	return in_ia32_syscall();
#elif defined(CONFIG_IA32_EMULATION)
	return current_thread_info()->status & TS_COMPAT;
#else
	return false;
#endif
#elif defined(CONFIG_ARM64) && defined(CONFIG_COMPAT)
	return is_compat_task();
#else
	return false;
#endif
}

/* Whether the current program is a 32-bit one. */
static inline bool fsn_task_compat(void)
{
#ifdef CONFIG_X86_64
	return test_thread_flag(TIF_ADDR32);
#elif defined(CONFIG_ARM64) && defined(CONFIG_COMPAT)
	return is_compat_task();
#else
	return false;
#endif
}

/* A reference on a file that may be going away: takes struct file ** and the RCU lock itself from 6.7. */
static inline struct file *fsn_mm_exe_file(struct mm_struct *mm)
{
	struct file *f;

#if FSN_KERNEL(6, 7)
	f = get_file_rcu(&mm->exe_file);
#else
	rcu_read_lock();
	f = rcu_dereference(mm->exe_file);
	if (f && !atomic_long_inc_not_zero(&f->f_count))
		f = NULL;
	rcu_read_unlock();
#endif
	return f;
}

/* Snapshot of a path of fs_struct under RCU. fs->seq became a seqlock in 6.18. */
static inline void fsn_fs_paths(struct fs_struct *fs, struct path *pwd, struct path *root)
{
	unsigned int seq;

	do {
#if FSN_KERNEL(6, 18)
		seq = read_seqbegin(&fs->seq);
#else
		seq = read_seqcount_begin(&fs->seq);
#endif
		*pwd = fs->pwd;
		*root = fs->root;
#if FSN_KERNEL(6, 18)
	} while (read_seqretry(&fs->seq, seq));
#else
	} while (read_seqcount_retry(&fs->seq, seq));
#endif
}

/* Present value of a seqlock's counter, odd while a writer is inside. raw_read_seqcount: 3.18. */
static inline u32 fsn_seqlock_sequence(const seqlock_t *lock)
{
#if FSN_KERNEL(3, 18)
	return raw_read_seqcount(&lock->seqcount);
#else
	return ACCESS_ONCE(lock->seqcount.sequence);
#endif
}

/* vm_flags are read-only from 6.3. */
static inline void fsn_vm_flags(struct vm_area_struct *vma, unsigned long set, unsigned long clear)
{
#if FSN_KERNEL(6, 3)
	vm_flags_mod(vma, set, clear);
#else
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
#endif
}

/* Pages that can be had without swapping: si_mem_available, 4.6. Before that nobody tells. */
static inline long fsn_pages_available(void)
{
#if FSN_KERNEL(4, 6)
	return si_mem_available();
#else
	return LONG_MAX;
#endif
}

/* access_ok lost its type in 5.0. */
static inline bool fsn_access_ok(const void __user *from, unsigned long len)
{
#if FSN_KERNEL(5, 0)
	return access_ok(from, len);
#else
	return access_ok(VERIFY_READ, from, len);
#endif
}

/* hlist_for_each_entry_rcu takes a lockdep condition from 5.4. */
#if FSN_KERNEL(5, 4)
#define fsn_hlist_for_each_rcu(pos, head, member, cond)	\
	hlist_for_each_entry_rcu(pos, head, member, cond)
#else
#define fsn_hlist_for_each_rcu(pos, head, member, cond)	\
	hlist_for_each_entry_rcu(pos, head, member)
#endif

/* __poll_t and EPOLL*: 4.16. */
#if !FSN_KERNEL(4, 16)
typedef unsigned int __poll_t;
#endif
#ifndef EPOLLIN
#define EPOLLIN		POLLIN
#define EPOLLRDNORM	POLLRDNORM
#define EPOLLERR	POLLERR
#endif

/* Plain ids of the initial user namespace; kuid_t was a plain number without strict checks. */
#define fsn_uid(kuid)	((u32)__kuid_val(kuid))
#define fsn_gid(kgid)	((u32)__kgid_val(kgid))

/* Login uid and audit session of the current task. */
static inline u32 fsn_loginuid(void)
{
#ifdef CONFIG_AUDITSYSCALL
	return fsn_uid(audit_get_loginuid(current));
#else
	return (u32)-1;
#endif
}

static inline u32 fsn_loginuid_of(struct task_struct *t)
{
#ifdef CONFIG_AUDITSYSCALL
	return fsn_uid(audit_get_loginuid(t));
#else
	return (u32)-1;
#endif
}

static inline u32 fsn_sessionid(void)
{
#ifdef CONFIG_AUDITSYSCALL
	return audit_get_sessionid(current);
#else
	return (u32)-1;
#endif
}

/* Capability sets are one u64 from 6.3 and two u32 before. */
static inline u64 fsn_cap(kernel_cap_t c)
{
#if FSN_KERNEL(6, 3)
	return c.val;
#else
	return c.cap[0] | (u64)c.cap[1] << 32;
#endif
}

/* Namespace inode numbers: ns_common from 3.19. */
#if FSN_KERNEL(3, 19)
#define fsn_ns_inum(p)	((p)->ns.inum)
#else
#define fsn_ns_inum(p)	((p)->proc_inum)
#endif

/* Of what current forks; as a member of nsproxy it got another name in 3.11. */
static inline struct pid_namespace *fsn_child_pidns(void)
{
	struct nsproxy *proxy = current->nsproxy;

	if (!proxy)	/* it is about to end */
		return &init_pid_ns;
#if FSN_KERNEL(3, 11)
	return proxy->pid_ns_for_children;
#else
	return proxy->pid_ns;
#endif
}

static inline u32 fsn_cgroup_ns(void)
{
#if FSN_KERNEL(4, 6) && defined(CONFIG_CGROUPS)
	return current->nsproxy ? current->nsproxy->cgroup_ns->ns.inum : 0;
#else
	return 0;
#endif
}

/* File times: accessors from 6.6 (ctime) and 6.7 (mtime); struct timespec before 4.18. */
static inline u64 fsn_inode_ctime(const struct inode *inode)
{
#if FSN_KERNEL(6, 6)
	struct timespec64 t = inode_get_ctime(inode);

	return (u64)t.tv_sec * NSEC_PER_SEC + t.tv_nsec;
#else
	return (u64)inode->i_ctime.tv_sec * NSEC_PER_SEC + inode->i_ctime.tv_nsec;
#endif
}

static inline u64 fsn_inode_mtime(const struct inode *inode)
{
#if FSN_KERNEL(6, 7)
	struct timespec64 t = inode_get_mtime(inode);

	return (u64)t.tv_sec * NSEC_PER_SEC + t.tv_nsec;
#else
	return (u64)inode->i_mtime.tv_sec * NSEC_PER_SEC + inode->i_mtime.tv_nsec;
#endif
}

/*
 * cgroups. The path of a cgroup is kernfs's from 3.15; until 4.9 it returned a pointer into the buffer.
 * The default (v2) hierarchy can be reached by modules from 4.5 on; older hosts are v1.
 * Return: length without NUL, 0 when it does not fit.
 */
#ifdef CONFIG_CGROUPS
static inline int fsn_cgroup_path(struct cgroup *cgrp, char *buf, int size)
{
#if FSN_KERNEL(4, 10)
	int n = cgroup_path(cgrp, buf, size);

	return n > 0 && n < size ? n : 0;
#elif FSN_KERNEL(3, 15)
	char *p = kernfs_path(cgrp->kn, buf, size);
	int n;

	if (!p)
		return 0;
	n = strlen(p);
	memmove(buf, p, n + 1);
	return n;
#else
	return cgroup_path(cgrp, buf, size) ? 0 : strlen(buf);
#endif
}

static inline struct css_set *fsn_css_set(struct task_struct *t)
{
	return rcu_dereference(t->cgroups);
}

/* Cgroup of @set in the default hierarchy, or NULL. RCU. */
static inline struct cgroup *fsn_cgroup_default(struct css_set *set)
{
#if FSN_KERNEL(4, 5)
	return set->dfl_cgrp;
#else
	return NULL;
#endif
}

/* Number that tells this cgroup from any other that had its memory before. */
static inline u64 fsn_cgroup_id(struct cgroup *cgrp)
{
#if FSN_KERNEL(5, 5)
	return cgrp->kn->id;
#elif FSN_KERNEL(4, 14)
	return cgrp->kn->id.id;
#elif FSN_KERNEL(3, 15)
	return cgrp->kn->ino;
#else
	return cgrp->id;
#endif
}

/* Name of subsystem @i of @set and its cgroup, when it belongs to a v1 hierarchy. RCU. */
static inline struct cgroup *fsn_cgroup_v1(struct css_set *set, int i, const char **name)
{
	struct cgroup_subsys_state *css = READ_ONCE(set->subsys[i]);

	if (!css)
		return NULL;
#if FSN_KERNEL(3, 15)
#if FSN_KERNEL(4, 5)
	if (css->cgroup->root == set->dfl_cgrp->root)
		return NULL;
#endif
	*name = css->ss->name;
#else
	*name = "cgroup";
#endif
	return css->cgroup;
}
#endif /* CONFIG_CGROUPS */

/*
 * Tracepoints. None is exported: they are looked up by name, and before 3.15 registration itself goes by name.
 */
#if FSN_KERNEL(3, 15)
typedef struct tracepoint *fsn_tp_t;
#define fsn_tp_register(tp, probe)	tracepoint_probe_register(tp, probe, NULL)
#define fsn_tp_unregister(tp, probe)	tracepoint_probe_unregister(tp, probe, NULL)

struct fsn_tp_search {
	const char *name;
	struct tracepoint *found;
};

static void fsn_tp_compare(struct tracepoint *tp, void *priv)
{
	struct fsn_tp_search *s = priv;

	if (!strcmp(tp->name, s->name))
		s->found = tp;
}

static inline fsn_tp_t fsn_tp_find(const char *name)
{
	struct fsn_tp_search s = { .name = name };

	for_each_kernel_tracepoint(fsn_tp_compare, &s);
	return s.found;
}
#else
typedef const char *fsn_tp_t;
#define fsn_tp_register(tp, probe)	tracepoint_probe_register(tp, probe, NULL)
#define fsn_tp_unregister(tp, probe)	tracepoint_probe_unregister(tp, probe, NULL)

static inline fsn_tp_t fsn_tp_find(const char *name)
{
	return name;
}
#endif

/* sched_process_exit gained group_dead in 6.16. */
#if FSN_KERNEL(6, 16)
#define FSN_PROCESS_EXIT_ARGS	void *data, struct task_struct *task, bool group_dead
#else
#define FSN_PROCESS_EXIT_ARGS	void *data, struct task_struct *task
#endif

/* hrtimer_init became hrtimer_setup in 6.13 and was removed in 6.15. */
static inline void fsn_hrtimer_setup(struct hrtimer *timer,
				     enum hrtimer_restart (*fn)(struct hrtimer *))
{
#if FSN_KERNEL(6, 13)
	hrtimer_setup(timer, fn, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
#else
	hrtimer_init(timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	timer->function = fn;
#endif
}

/* A task's name into a record: the kernel's is 16 bytes with a NUL, but may be changing under us. */
static inline void fsn_copy_comm(char *to, const char *from)
{
	memcpy(to, from, 15);
	to[15] = 0;
}

/*
 * A file of current's own table. As fdget() does, a table that nobody shares is read without a reference:
 * nobody else can close the file before the system call is over. Otherwise a reference is taken. The look-up
 * was renamed in 5.11 (bebf684bf330), which 5.10.220 took over.
 */
static inline struct file *fsn_file_get(int fd, bool *borrowed)
{
	struct files_struct *files = current->files;

	*borrowed = false;
	if (fd < 0 || !files)
		return NULL;
	if (atomic_read(&files->count) != 1)
		return fget_raw(fd);
	*borrowed = true;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 10, 220)
	return files_lookup_fd_raw(files, fd);
#else
	return fcheck_files(files, fd);
#endif
}

static inline void fsn_file_put(struct file *file, bool borrowed)
{
	if (!borrowed)
		fput(file);
}

/* sock_from_file has no error argument from 5.11. */
static inline struct socket *fsn_sock_from_file(struct file *file)
{
#if FSN_KERNEL(5, 11)
	return sock_from_file(file);
#else
	int err;

	return sock_from_file(file, &err);
#endif
}

/* Whether the open that made @file also made the file: 4.19. */
static inline bool fsn_file_created(const struct file *file)
{
#ifdef FMODE_CREATED
	return file->f_mode & FMODE_CREATED;
#else
	return false;
#endif
}

/*
 * Overlayfs. Where the upper dentry of a file is kept is private to it: behind the inode in struct ovl_inode
 * from 4.13 (09d8b586731b) and in RHEL 7.9's 3.10, first in the struct ovl_entry of the dentry from 3.18 to 4.12.
 * Return: 1 there is one, 0 there is none, -1 not known.
 */
#define FSN_OVERLAYFS_MAGIC	0x794c7630

#if FSN_KERNEL(4, 13)
#define FSN_OVL_INODE
#elif defined(RHEL_RELEASE_CODE)
#if RHEL_RELEASE_CODE >= RHEL_RELEASE_VERSION(7, 9)
#define FSN_OVL_INODE
#endif
#endif

static inline int fsn_overlay_has_upper(const struct dentry *dentry)
{
#ifdef FSN_OVL_INODE
	const struct inode *inode = dentry->d_inode;

	return inode ? !!READ_ONCE(*(void *const *)(inode + 1)) : -1;
#elif FSN_KERNEL(3, 18)
	void *const *entry = dentry->d_fsdata;

	return entry ? !!READ_ONCE(*entry) : -1;
#else
	return -1;
#endif
}

/* Addresses of an IPv6 socket: in struct sock from 3.13, and in RHEL 7's 3.10. */
#if IS_ENABLED(CONFIG_IPV6)
#ifdef sk_v6_daddr
#define fsn_v6_local(sk)	(&(sk)->sk_v6_rcv_saddr)
#define fsn_v6_remote(sk)	(&(sk)->sk_v6_daddr)
#else
#define fsn_v6_local(sk)	(&inet6_sk(sk)->rcv_saddr)
#define fsn_v6_remote(sk)	(&inet6_sk(sk)->daddr)
#endif
#endif

/* unix_peer_get: still exported, but its prototype moved to a private header in 6.13. */
#if FSN_KERNEL(6, 13)
struct sock *unix_peer_get(struct sock *sk);
#endif

/* Kernels with sleeping spinlocks: allocation and locks in a probe are not safe there. */
#if defined(CONFIG_PREEMPT_RT) || defined(CONFIG_PREEMPT_RT_FULL)
#define FSN_PREEMPT_RT 1
#else
#define FSN_PREEMPT_RT 0
#endif

#endif /* FSN_COMPAT_H */
