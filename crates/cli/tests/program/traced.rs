//! A program that is stopped at every system call that changes files, and killed at one of them.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus, Stdio},
};

use nix::{
    libc,
    sys::{
        ptrace::{self, Options},
        signal::{self, Signal},
        wait::{self, WaitPidFlag, WaitStatus},
    },
    unistd::Pid,
};

/// What became of a traced program.
pub(crate) struct Traced {
    /// System calls that change files, from the first to the end or to the one before which it was killed.
    pub(crate) calls: usize,
    /// How it ended.
    pub(crate) status: ExitStatus,
}

/// Runs `program`, and kills it when `fatal` such calls were made and it is about to make the next one.
///
/// The program's output goes nowhere.
pub(crate) fn run(program: &Command, fatal: Option<usize>) -> Traced {
    let main = start(program);
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(main, options).expect("a child can be traced");
    signal::kill(main, Signal::SIGCONT).expect("the child goes on");
    let mut tracer = Tracer { main, calls: 0, fatal };
    loop {
        if let Some(status) = tracer.stop() {
            return Traced { calls: tracer.calls, status };
        }
    }
}

struct Tracer {
    main: Pid,
    calls: usize,
    fatal: Option<usize>,
}

impl Tracer {
    /// Waits for the next stop of one of the program's threads, and lets it go on; how the program ended, once it has.
    fn stop(&mut self) -> Option<ExitStatus> {
        // Not any child: other tests of this program have theirs, in other threads.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        let (thread, signal) = match wait::waitpid(None, Some(flags)).expect("a child to wait for") {
            WaitStatus::Exited(ended, code) => return (ended == self.main).then(|| ExitStatus::from_raw(code << 8)),
            WaitStatus::Signaled(ended, signal, _) => {
                return (ended == self.main).then(|| ExitStatus::from_raw(signal as i32));
            }
            WaitStatus::PtraceSyscall(thread) => {
                self.at_call(thread);
                (thread, None)
            }
            // A stop of the tracer's own making.
            WaitStatus::PtraceEvent(thread, ..) => (thread, None),
            WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
            WaitStatus::Continued(_) | WaitStatus::StillAlive => return None,
        };
        // One that was killed meanwhile is no longer there.
        let _ = ptrace::syscall(thread, signal);
        None
    }

    fn at_call(&mut self, thread: Pid) {
        if !is_entry(thread) || !changes_files(thread) {
            return;
        }
        if self.fatal == Some(self.calls) {
            // The call that the thread was about to make is not made.
            signal::kill(self.main, Signal::SIGKILL).expect("the child is killed");
        } else {
            self.calls += 1;
        }
    }
}

/// `program` as a child that has stopped itself before its first instruction.
#[expect(clippy::zombie_processes, reason = "`Tracer::stop` waits for it")]
fn start(program: &Command) -> Pid {
    let mut shell = Command::new("sh");
    shell.args(["-c", "kill -STOP $$; exec \"$0\" \"$@\""]).arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    if let Some(directory) = program.get_current_dir() {
        shell.current_dir(directory);
    }
    let child = shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a shell");
    let main = Pid::from_raw(child.id().cast_signed());
    let stopped = wait::waitpid(main, Some(WaitPidFlag::WUNTRACED)).expect("the shell stops");
    assert!(matches!(stopped, WaitStatus::Stopped(_, Signal::SIGSTOP)), "{stopped:?}");
    main
}

fn is_entry(thread: Pid) -> bool {
    ptrace::syscall_info(thread).is_ok_and(|call| call.op == libc::PTRACE_SYSCALL_INFO_ENTRY)
}

/// Whether the system call that `thread` is about to make changes what is on disk.
fn changes_files(thread: Pid) -> bool {
    // "running" for a thread that was killed meanwhile.
    let call = fs::read_to_string(format!("/proc/{thread}/syscall")).unwrap_or_default();
    let words: Vec<&str> = call.split(' ').collect();
    let Ok(number) = words[0].parse::<i64>() else { return false };
    let argument = |index: usize| {
        i64::from_str_radix(words[1 + index].trim_start_matches("0x"), 16).expect("a hexadecimal number")
    };
    match number {
        libc::SYS_openat => argument(2) & i64::from(libc::O_CREAT | libc::O_TRUNC) != 0,
        libc::SYS_write => argument(0) > 2,
        _ => CHANGES.contains(&number),
    }
}

const CHANGES: &[libc::c_long] = &[
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_linkat,
    libc::SYS_mkdirat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
];
