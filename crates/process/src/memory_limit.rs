//! How much memory this process may take: what its container (control group)
//! allows, or else what the machine has.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that it may take; `None` where the system does not tell.
#[must_use]
pub fn allowed() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let of_group = allowed_by_groups(&groups, Path::new("/sys/fs/cgroup"));
    let of_machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| of_machine(&text));
    of_group.into_iter().chain(of_machine).min()
}

/// The smallest limit of the groups that it is in, and of those above them.
fn allowed_by_groups(groups: &str, root: &Path) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        // `0::/a/b` is version 2, `4:memory:/a/b` version 1.
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let is_memory = controllers.split(',').any(|it| it == "memory");
        let (folder, file) = match (number, is_memory) {
            ("0", _) => (root.to_owned(), "memory.max"),
            (_, true) => (root.join("memory"), "memory.limit_in_bytes"),
            _ => return None,
        };
        smallest(&folder, path, file)
    });
    limits.min()
}

fn smallest(root: &Path, path: &str, file: &str) -> Option<u64> {
    // In a container the group may be called by a name that is not to be seen there.
    let mut groups: Vec<PathBuf> = vec![root.to_owned()];
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let deeper = groups.last()?.join(part);
        groups.push(deeper);
    }
    let limits = groups
        .iter()
        .filter_map(|group| fs::read_to_string(group.join(file)).ok());
    // `max` is none.
    limits.filter_map(|text| text.trim().parse().ok()).min()
}

fn of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_group_counts_in_both_versions() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/memory.max"), "268435456\n").unwrap();
        fs::write(root.join("a/b/memory.max"), "max\n").unwrap();
        assert_eq!(allowed_by_groups("0::/a/b\n", root), Some(256 << 20));
        assert_eq!(allowed_by_groups("0::/\n", root), None);

        fs::create_dir_all(root.join("memory/c")).unwrap();
        fs::write(root.join("memory/memory.limit_in_bytes"), "134217728").unwrap();
        let first = "5:cpu:/c\n4:memory:/c\n";
        assert_eq!(allowed_by_groups(first, root), Some(128 << 20));
    }

    #[test]
    fn without_a_group_the_machine_counts() {
        assert_eq!(
            of_machine("MemFree: 1 kB\nMemTotal:  2048 kB\n"),
            Some(2 << 20)
        );
        assert!(allowed().is_some_and(|bytes| bytes > 1 << 20));
    }
}
