//! How much memory the program may take: what the system has free, and what the control groups that the program is in, such
//! as those of a container or a batch job, leave of their limits.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// Bytes that the program may take without swapping or being killed; `None` where the system does not tell in the way of
/// Linux.
pub(crate) fn bytes_available() -> Option<u64> {
    let of_system = available_in(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let memberships = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(left_in_groups(&memberships, Path::new("/sys/fs/cgroup")).map_or(of_system, |left| left.min(of_system)))
}

fn available_in(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Where one of the two versions of control groups keeps its numbers.
struct Files {
    /// Folder below that of all groups.
    mount: &'static str,
    /// Limits in bytes, the smallest of which counts.
    limits: &'static [&'static str],
    /// Bytes in use, with those of cached files.
    usage: &'static str,
    /// Lines of `memory.stat`: bytes of cached files, which the system takes back where memory is short, as `MemAvailable`
    /// counts them.
    reclaimable: [&'static str; 2],
}

/// <https://docs.kernel.org/admin-guide/cgroup-v2.html>, "Memory Interface Files".
const VERSION_2: Files = Files {
    mount: "",
    limits: &["memory.max", "memory.high"],
    usage: "memory.current",
    reclaimable: ["inactive_file", "active_file"],
};

/// <https://docs.kernel.org/admin-guide/cgroup-v1/memory.html>, "User Interface".
const VERSION_1: Files = Files {
    mount: "memory",
    limits: &["memory.limit_in_bytes"],
    usage: "memory.usage_in_bytes",
    reclaimable: ["total_inactive_file", "total_active_file"],
};

/// Bytes that the groups of `memberships`, lines of `/proc/self/cgroup`, leave of their limits; `None` where none has one.
/// `root` is the folder of all groups.
fn left_in_groups(memberships: &str, root: &Path) -> Option<u64> {
    let left_of = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next()?, parts.next()?);
        let files = match controllers {
            "" => VERSION_2,
            _ if controllers.split(',').any(|controller| controller == "memory") => VERSION_1,
            _ => return None,
        };
        left_in_group(&files, &root.join(files.mount), group)
    };
    memberships.lines().filter_map(left_of).min()
}

/// The least that `group` and those around it leave. A container may see its own group as the outermost, under a name that
/// is missing there.
fn left_in_group(files: &Files, mount: &Path, group: &str) -> Option<u64> {
    let inner = |part| if let Component::Normal(name) = part { Some(name) } else { None };
    let names: PathBuf = Path::new(group).components().filter_map(inner).collect();
    names.ancestors().filter_map(|names| left_of_limit(files, &mount.join(names))).min()
}

fn left_of_limit(files: &Files, group: &Path) -> Option<u64> {
    let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    // One without a limit says `max`.
    let limit = files.limits.iter().filter_map(|name| number(name)).min()?;
    let usage = number(files.usage)?;
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let of_line = |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    let reclaimable = files.reclaimable.into_iter().filter_map(of_line).fold(0, u64::saturating_add);
    Some(limit.saturating_sub(usage.saturating_sub(reclaimable)))
}

#[cfg(test)]
mod tests {
    use record::write;

    use super::*;

    #[test]
    fn available_memory_is_read_from_meminfo() {
        let meminfo = "MemTotal:       65843196 kB\nMemFree:  1 kB\nMemAvailable:   64000 kB\n";
        assert_eq!(available_in(meminfo), Some(65_536_000));
        assert_eq!(available_in("MemTotal: 5 kB\n"), None);
    }

    /// Writes the numbers of a group of version 2 or 1.
    fn write_group(folder: &Path, files: &Files, [limit, usage, inactive, active]: [&str; 4]) {
        write::create_directory(folder).unwrap();
        let put = |name, text: String| write::replace(&folder.join(name), text.as_bytes()).unwrap();
        put(files.limits[0], format!("{limit}\n"));
        put(files.usage, format!("{usage}\n"));
        let [inactive_name, active_name] = files.reclaimable;
        put("memory.stat", format!("file 9\n{inactive_name} {inactive}\n{active_name} {active}\nunevictable 7\n"));
    }

    #[test]
    fn the_narrowest_of_the_groups_around_the_program_counts() {
        let root = tempfile::tempdir().unwrap();
        let slice = root.path().join("user.slice");
        write_group(&slice, &VERSION_2, ["8000", "3000", "300", "200"]);
        write_group(&slice.join("job:1"), &VERSION_2, ["max", "2000", "300", "100"]);
        assert_eq!(left_in_groups("0::/user.slice/job:1\n", root.path()), Some(5500));
        write_group(&slice.join("job:1"), &VERSION_2, ["2500", "2000", "300", "100"]);
        assert_eq!(left_in_groups("0::/user.slice/job:1\n", root.path()), Some(900));
        write_group(&slice.join("job:1"), &VERSION_2, ["2500", "2900", "60", "40"]);
        assert_eq!(left_in_groups("0::/user.slice/job:1\n", root.path()), Some(0), "over its limit");
        assert_eq!(left_in_groups("0::/\n", root.path()), None);
        write::replace(&slice.join("memory.high"), b"4000\n").unwrap();
        assert_eq!(left_in_groups("0::/user.slice\n", root.path()), Some(1500), "slowed down from there on");
    }

    #[test]
    fn a_container_sees_its_own_group_as_the_outermost() {
        let root = tempfile::tempdir().unwrap();
        write_group(&root.path().join("memory"), &VERSION_1, ["4000", "1000", "150", "50"]);
        for name in ["/docker/0af3", "/", "/../job"] {
            let memberships = format!("12:cpu,cpuacct:{name}\n7:memory:{name}\n0::{name}\n");
            assert_eq!(left_in_groups(&memberships, root.path()), Some(3200), "{name}");
        }
        assert_eq!(left_in_groups("12:cpu:/docker\nnonsense\n\n", root.path()), None);
    }
}
