// SPDX-License-Identifier: GPL-2.0
/*
 * The tracepoint probes: what happens at a system call's return, at exec, fork and exit.
 *
 * signal_deliver is left alone: it runs under the signal lock, which timers take in interrupts, and describing a task there would
 * wait for locks (fs->seq, rename_lock, mount_lock) whose holders such an interrupt may stop. lockdep showed it.
 *
 * Context: whatever the tracepoint gives - since 6.13 that may be preemptible - so every probe makes its own
 * (fsn_enter). No probe sleeps, prints or allocates more than an exec record. sched_process_free runs
 * from RCU callbacks in softirq and touches the identity table only.
 *
 * Order on the path of a system call, cheapest first: heeded, self, row, wanted, conditions on registers and result,
 * then either the slot with its interest mask (where it seems that the mask says no) or whether it is an open that was stopped a
 * moment ago, the conditions on paths and descriptors, slot, mask, record.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt
#include "compat.h"
#include <linux/binfmts.h>
#include <trace/events/sched.h>
#include <trace/events/syscalls.h>

#include "facts.h"
#include "ring.h"
#include "task.h"

#define CODE_PROCEXIT		186

struct fsn_probe_config fsn_probe_config;

/* Rows of the exec calls in syscalls.c, found at init. */
static const struct fsn_syscall_def *sc_execve, *sc_execveat;

/* ---- helpers of the probes ------------------------------------------------------------------------------- */

static bool from_consumer(struct fsn_ring *ring)
{
	if (likely(current->tgid != READ_ONCE(fsn_probe_config.consumer)))
		return false;
	ring->producer->filtered[FSN_FILTERED_SELF]++;
	return true;
}

/* The live ring of this CPU, or NULL with the loss counted; @ring as fsn_enter gave it. */
static bool can_record(struct fsn_ring *ring)
{
	if (likely(fsn_ring_live(ring)))
		return true;
	atomic64_inc(&fsn_no_ring);
	return false;
}

/* Whether the consumer has said that it wants nothing of this class from the task in @slot. */
static __always_inline bool masked(struct fsn_ring *ring, const struct fsn_slot *slot, u16 sc)
{
	const struct fsn_interest *interest = &ring->consumer->interest[slot->index];
	u8 class = READ_ONCE(fsn_probe_config.class[sc]) & (FSN_CLASSES - 1);

	if (READ_ONCE(interest->gen) != slot->gen)
		return false;
	/* pairs with the consumer's release store of gen: the mask belongs to it */
	smp_rmb();
	return !(READ_ONCE(interest->mask) >> class & 1);
}

/*
 * Begins the record of an event of current, without its result, registers, flags and number; NULL when it is lost (counted) or
 * masked.
 */
static __always_inline struct fsn_event *event_begin(struct fsn_out *o, struct fsn_ring *ring, u16 code, u16 sc)
{
	const struct fsn_slot *slot = fsn_task_slot(ring);
	struct fsn_event *ev;

	if (unlikely(!slot)) {
		ring->producer->drops[FSN_DROP_TASK_FULL]++;
		goto lost;
	}
	if (sc && masked(ring, slot, sc)) {
		ring->producer->filtered[FSN_FILTERED_MASK]++;
		return NULL;
	}
	if (unlikely(!fsn_out_begin(o, ring, FSN_REC_EVENT, slot->index, sizeof(*ev)))) {
		ring->producer->drops[FSN_DROP_RING_FULL]++;
		goto lost;
	}
	ev = (struct fsn_event *)o->start;
	ev->gen = slot->gen;
	ev->code = code;
	ev->sc = sc;
	return ev;
lost:
	fsn_ring_wake(ring);	/* a sleeping consumer must not sleep on a full ring */
	return NULL;
}

/* The same of an event that is no system call's return. */
static struct fsn_event *tracepoint_begin(struct fsn_out *o, struct fsn_ring *ring, u16 code, u16 sc, u16 nr)
{
	struct fsn_event *ev = event_begin(o, ring, code, sc);

	if (!ev)
		return NULL;
	ev->ret = 0;
	memset(ev->args, 0, sizeof(ev->args));
	ev->flags = FSN_EVENT_TRACEPOINT;
	ev->nr = nr;
	return ev;
}

static void event_commit(struct fsn_out *o, bool urgent)
{
	struct fsn_event *ev = (struct fsn_event *)o->start;

	ev->natts = o->natts;
	fsn_out_commit(o);
	o->ring->producer->events++;
	if (urgent)
		fsn_ring_wake_urgently(o->ring);
	else
		fsn_ring_wake(o->ring);
}

/* ---- system calls ------------------------------------------------------------------------------------------ */

/* Whether @nr is the number of an exec call by either entry: before 4.15 exec may change which one applies. */
static bool may_be_exec(long nr)
{
#ifdef CONFIG_X86_64
	return nr == 59 || nr == 322 || nr == 11 || nr == 358;
#else
	return nr == sc_execve->nr || (sc_execveat && nr == sc_execveat->nr);
#endif
}

/*
 * Whether a rule may match @call, as far as the conditions of its event tell; counts those that none can. Calls by the 32-bit
 * entry, and those that are several events, are not judged.
 */
static __always_inline bool may_match(struct fsn_ring *ring, struct fsn_call *call, struct fsn_facts *facts, bool *urgent)
{
	const struct fsn_table *table = fsn_table_live();
	const struct fsn_program *program;
	u8 class;
	u32 at;

	program = table ? fsn_filter_program(table, call->sc->event) : NULL;
	if (!program || call->compat || call->nr >= 512 || (call->sc->flags & FSN_SC_MESSAGES))
		return true;
	fsn_facts_begin(facts, call->ret, call->args, ring);
	call->facts = facts;
	at = fsn_filter_begin(table, program, facts);
	if (at == FSN_STEP_STOP) {
		ring->producer->filtered[FSN_FILTERED_CALL]++;
		return false;
	}
	*urgent = program->flags & FSN_PROGRAM_URGENT;
	if (at == FSN_STEP_PASS)
		return true;
	/* the mask is cheaper; where the hint is wrong the event is sent, which is only unnecessary */
	class = READ_ONCE(fsn_probe_config.class[call->sc->sc]) & (FSN_CLASSES - 1);
	if (fsn_task_seems_masked(ring, class)) {
		*urgent = false;
		return true;
	}
	if (!fsn_facts_stopped_before(facts, table, program, at)) {
		if (fsn_filter_passes(table, program, facts, at))
			return true;
		fsn_facts_stopped(facts, table, at);
	}
	ring->producer->filtered[FSN_FILTERED_OBJECT]++;
	return false;
}

/* One event of @call, or its loss. */
static __always_inline void record_call(struct fsn_ring *ring, struct fsn_call *call)
{
	struct fsn_facts fsn_uninit facts;	/* may_match() begins it */
	struct fsn_out fsn_uninit o;
	struct fsn_event *ev;
	unsigned int i;
	bool urgent = false;

	if (!may_match(ring, call, &facts, &urgent))
		return;
	ev = event_begin(&o, ring, call->sc->event, call->sc->sc);
	if (!ev)
		return;
	ev->ret = call->ret;
	ev->nr = call->nr;
	for (i = 0; i < ARRAY_SIZE(call->args); i++)
		ev->args[i] = call->args[i];
	ev->flags = call->compat ? FSN_EVENT_COMPAT : 0;
	if (fsn_capture(&o, call)) {
		event_commit(&o, urgent);
	} else {
		fsn_out_drop(&o, FSN_DROP_RING_FULL);
		fsn_ring_wake(ring);
	}
}

static noinline void record_message(struct fsn_ring *ring, const struct fsn_call *call, u32 i)
{
	struct fsn_call fsn_uninit one;

	fsn_call_message(&one, call, i);
	record_call(ring, &one);
}

/* fsn_probe_config.heeded: why a call by the native entry is looked at; the same for the 32-bit entry in the upper half. */
#define HEED_CALL	(1u << 0)
#define HEED_EXEC	(1u << 1)	/* by its number it may be an exec */
#define HEED_MOUNTS	(1u << 2)	/* it may move a mount, end one or make one */
#define HEED_BITS	4

static bool changes_mounts(const struct fsn_syscall_def *sc)
{
	static const char *const names[] = { "mount", "umount", "umount2", "move_mount", "pivot_root", "unshare" };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(sc->name, names[i]))
			return true;
	return false;
}

void fsn_probes_heed(void)
{
	const struct fsn_syscall_def *sc;
	unsigned int nr, compat;

	for (nr = 0; nr < FSN_NUMBERS; nr++) {
		u8 both = 0;

		for (compat = 0; compat < 2; compat++) {
			u8 heed = 0;

			sc = fsn_syscall_by_nr(nr, compat);
			if (sc && (fsn_probe_config.wanted[sc->sc] || (sc->flags & FSN_SC_SOCKETCALL)))
				heed |= HEED_CALL;
			if (sc && may_be_exec(nr))
				heed |= HEED_CALL | HEED_EXEC;
			if (sc && changes_mounts(sc))
				heed |= HEED_MOUNTS;
			both |= heed << (compat ? HEED_BITS : 0);
		}
		WRITE_ONCE(fsn_probe_config.heeded[nr], both);
	}
}

/* A call that may be an event. Not inlined: nearly every call of a host does without the room for it. */
static noinline void heeded_call(struct pt_regs *regs, long ret)
{
	unsigned long nr = fsn_syscall_nr(regs);
	bool compat = fsn_syscall_compat();
	u8 heed = READ_ONCE(fsn_probe_config.heeded[nr]) >> (compat ? HEED_BITS : 0);
	struct fsn_call fsn_uninit call;
	struct fsn_ring *ring;
	u32 i, n;

	if (unlikely(heed & HEED_MOUNTS))
		fsn_mounts_changed();
	if (!(heed & HEED_CALL))
		return;
	ring = fsn_enter();
	if (unlikely(!ring))
		return;
	if (!can_record(ring) || from_consumer(ring))
		goto out;
	/* reported by sched_process_exec; the registers are the new program's */
	if (unlikely(heed & HEED_EXEC) && ret == 0 && fsn_exec_returning())
		goto out;
	call.sc = fsn_syscall_by_nr(nr, compat);
	if (!call.sc)
		goto out;
	call.compat = compat;
	call.facts = NULL;
	call.ret = ret;
	call.nr = nr;
	fsn_syscall_args(regs, call.args);
	if (compat && !fsn_compat_call(&call))
		goto out;
	if (!READ_ONCE(fsn_probe_config.wanted[call.sc->sc]))
		goto out;
	if (likely(!(call.sc->flags & FSN_SC_MESSAGES))) {
		record_call(ring, &call);
		goto out;
	}
	n = fsn_call_messages(&call);
	for (i = 0; i < n; i++)
		record_message(ring, &call, i);
out:
	fsn_leave(ring);
}

static void probe_sys_exit(void *data, struct pt_regs *regs, long ret)
{
	unsigned long nr = fsn_syscall_nr(regs);

	/* nearly every call of a host ends here */
	if (likely(nr >= FSN_NUMBERS || !READ_ONCE(fsn_probe_config.heeded[nr])))
		return;
	heeded_call(regs, ret);
}

/* Whether current's process leads a session or a group with others in it. */
static bool leads_others(void)
{
	struct pid *pid = task_pid(current->group_leader);
	struct hlist_node *first;
	int type;

	for (type = PIDTYPE_PGID; type <= PIDTYPE_SID; type++) {
		first = rcu_dereference(hlist_first_rcu(&pid->tasks[type]));
		if (first && rcu_dereference(hlist_next_rcu(first)))
			return true;
	}
	return false;
}

/* ---- exec, fork, exit ---------------------------------------------------------------------------------------- */

/*
 * Reported as execve whichever call it was: from 4.15 on the kernel itself pretends so (set_personality_64bit), and rules know
 * the success of execveat by that name.
 */
static void probe_exec(void *data, struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm)
{
	long nr = fsn_syscall_nr(task_pt_regs(current));
	struct fsn_ring *ring = fsn_enter();
	struct fsn_out o;

	if (unlikely(!ring))
		return;
	fsn_ident_exec(ring, old_pid, bprm->filename, may_be_exec(nr));
	/* the image of somebody's ancestor or leader has changed */
	if (!list_empty(&current->children) || leads_others())
		atomic64_inc(&fsn_lineage_seq);
	if (!READ_ONCE(fsn_probe_config.wanted[sc_execve->sc]))
		goto out;
	if (!can_record(ring) || from_consumer(ring))
		goto out;
	if (tracepoint_begin(&o, ring, sc_execve->event, sc_execve->sc, sc_execve->nr))
		event_commit(&o, false);
out:
	fsn_leave(ring);
}

static void probe_fork(void *data, struct task_struct *parent, struct task_struct *child)
{
	struct fsn_ring *ring = fsn_enter();

	if (unlikely(!ring))
		return;
	fsn_ident_fork(ring, parent, child);
	/* the mounts of a new namespace are new ones, perhaps where others have just been */
	if (unlikely(child->nsproxy != parent->nsproxy))
		fsn_mounts_changed();
	fsn_leave(ring);
}

/* Who will be the parent of current's children: a thread of its process, else the next subreaper or init. */
static pid_t reaper_of_current(void)
{
	struct task_struct *t, *ns_init = NULL;
	struct pid_namespace *ns = task_active_pid_ns(current);
	unsigned int depth;

	if (list_empty(&current->children))
		return 0;
	if (atomic_read(&current->signal->live) > 0)
		return current->tgid;	/* another thread of the process takes them */
	if (ns)
		ns_init = ns->child_reaper;
	if (current->signal->has_child_subreaper) {
		t = rcu_dereference(current->real_parent);
		for (depth = 0; t && t->tgid && depth < FSN_LINEAGE_MAX; depth++) {
			if (t == ns_init)
				break;
			if (t->signal->is_child_subreaper)
				return t->tgid;
			t = rcu_dereference(t->real_parent);
		}
	}
	return ns_init ? ns_init->tgid : 1;
}

static void probe_exit(FSN_PROCESS_EXIT_ARGS)
{
	struct fsn_ring *ring = fsn_enter();
	struct fsn_event *ev;
	struct fsn_out o;
	long code = current->exit_code;

	if (unlikely(!ring))
		return;
	/* its children get another parent soon: whoever has it as an ancestor looks again until that is done */
	if (!list_empty(&current->children) || leads_others())
		atomic64_inc(&fsn_lineage_seq);
	if (!(READ_ONCE(fsn_probe_config.tracepoints) & FSN_TP_PROCEXIT))
		goto out;
	if (!can_record(ring) || from_consumer(ring))
		goto out;
	ev = tracepoint_begin(&o, ring, CODE_PROCEXIT, 0, 0);
	if (!ev)
		goto out;
	ev->args[0] = code;
	ev->args[1] = code >> 8 & 0xff;
	ev->args[2] = code & 0x7f;
	ev->args[3] = !!(code & 0x80);
	ev->args[4] = reaper_of_current();
	event_commit(&o, false);
out:
	fsn_leave(ring);
}

/* softirq: the kernel is done with @task */
static void probe_free(void *data, struct task_struct *task)
{
	fsn_ident_free(task);
}

/* ---- attaching ------------------------------------------------------------------------------------------------- */

/* bit of fsn_info.attached; the first four are always attached while tracing, the others as configured */
static struct fsn_tracepoint {
	const char *name;
	void *probe;
	u32 when;		/* FSN_TP_* that asks for it, 0: always */
	fsn_tp_t tp;
	bool attached;
} tracepoints[] = {
	{ "sched_process_free", probe_free },
	{ "sched_process_exit", probe_exit },
	{ "sched_process_fork", probe_fork },
	{ "sched_process_exec", probe_exec },
	{ "sys_exit", probe_sys_exit, FSN_TP_SYSCALLS },
};

/* Exact prototypes matter where indirect calls are checked (kCFI). */
static inline void check_prototypes(void)
{
	check_trace_callback_type_sys_exit(probe_sys_exit);
	check_trace_callback_type_sched_process_exec(probe_exec);
	check_trace_callback_type_sched_process_fork(probe_fork);
	check_trace_callback_type_sched_process_exit(probe_exit);
	check_trace_callback_type_sched_process_free(probe_free);
}

static void detach(struct fsn_tracepoint *t)
{
	if (!t->attached)
		return;
	fsn_tp_unregister(t->tp, t->probe);
	t->attached = false;
}

/* Stops every probe and forgets every task. process, device lock. */
void fsn_probes_stop(void)
{
	int i;

	for (i = ARRAY_SIZE(tracepoints) - 1; i >= 0; i--)
		detach(&tracepoints[i]);
	tracepoint_synchronize_unregister();
	synchronize_rcu();	/* a probe is one reader from fsn_enter to fsn_leave */
	fsn_ident_clear();
}

/**
 * fsn_probes_start - attach the tracepoints asked for, and detach the others
 * @wanted: FSN_TP_*
 *
 * Return: 0 or the error of the tracepoint that could not be attached, with none left attached.
 */
int fsn_probes_start(u32 wanted)
{
	unsigned int i;
	int err;

	for (i = 0; i < ARRAY_SIZE(tracepoints); i++) {
		struct fsn_tracepoint *t = &tracepoints[i];

		if (t->when && !(t->when & wanted)) {
			detach(t);
			continue;
		}
		if (t->attached)
			continue;
		err = fsn_tp_register(t->tp, t->probe);
		if (err) {
			pr_err("cannot attach to tracepoint %s: error %d\n", t->name, err);
			fsn_probes_stop();
			return err;
		}
		t->attached = true;
	}
	return 0;
}

u32 fsn_probes_attached(void)
{
	u32 bits = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(tracepoints); i++)
		if (tracepoints[i].attached)
			bits |= tracepoints[i].when ? tracepoints[i].when : FSN_TP_TASKS;
	return bits;
}

int fsn_probes_init(void)
{
	unsigned int i;

	(void)check_prototypes;
	for (i = 0; i < fsn_nr_syscalls; i++) {
		if (!strcmp(fsn_syscalls[i].name, "execve"))
			sc_execve = &fsn_syscalls[i];
		if (!strcmp(fsn_syscalls[i].name, "execveat"))
			sc_execveat = &fsn_syscalls[i];
	}
	if (!sc_execve || !sc_execveat)
		return -EINVAL;
	for (i = 0; i < ARRAY_SIZE(tracepoints); i++) {
		tracepoints[i].tp = fsn_tp_find(tracepoints[i].name);
		if (!tracepoints[i].tp) {
			pr_err("this kernel has no tracepoint %s (CONFIG_FTRACE, CONFIG_FTRACE_SYSCALLS)\n",
			       tracepoints[i].name);
			return -ENOENT;
		}
	}
	return 0;
}
