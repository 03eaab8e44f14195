//! `pmatch`: is one of the listed paths a prefix of the field's path, component by component?
//!
//! Invariant: empty components do not count, so `//a/` is `/a`; a listed path that is a prefix of another absorbs it.

use super::glob::Glob;
use hashbrown::HashMap;

/// The listed paths as a tree of components.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathPrefixes {
    root: Node,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    ends: bool,
    plain: HashMap<Box<[u8]>, Node>,
    globs: Vec<(Glob, Node)>,
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|part| !part.is_empty())
}

/// Does a component match other texts than itself?
fn is_pattern(part: &[u8]) -> bool {
    part.iter().any(|b| matches!(b, b'?' | b'*' | b'['))
}

impl PathPrefixes {
    pub fn new<'p>(paths: impl IntoIterator<Item = &'p [u8]>) -> Self {
        let mut root = Node::default();
        for path in paths {
            let mut node = &mut root;
            for part in components(path) {
                node = if is_pattern(part) {
                    let glob = Glob::new(part);
                    let at = match node.globs.iter().position(|(g, _)| *g == glob) {
                        Some(at) => at,
                        None => {
                            node.globs.push((glob, Node::default()));
                            node.globs.len() - 1
                        }
                    };
                    &mut node.globs[at].1
                } else {
                    node.plain.entry(part.into()).or_default()
                };
            }
            node.ends = true;
        }
        PathPrefixes { root }
    }

    pub fn is_match(&self, path: &[u8]) -> bool {
        self.root.matches(path)
    }
}

impl Node {
    fn matches(&self, path: &[u8]) -> bool {
        if self.ends {
            return true;
        }
        let start = path.iter().position(|&b| b != b'/').unwrap_or(path.len());
        let path = &path[start..];
        if path.is_empty() {
            return false;
        }
        let end = path.iter().position(|&b| b == b'/').unwrap_or(path.len());
        let (part, rest) = path.split_at(end);
        self.plain.get(part).is_some_and(|node| node.matches(rest))
            || self.globs.iter().any(|(glob, node)| glob.is_match(part) && node.matches(rest))
    }
}

/// The paths of many comparisons as one tree: which of them have a path that is a prefix, in one walk.
#[derive(Debug, Default)]
pub struct PathTree {
    root: Branch,
}

#[derive(Debug, Default)]
struct Branch {
    ends: Vec<u32>,
    plain: HashMap<Box<[u8]>, Branch>,
    globs: Vec<(Glob, Branch)>,
}

impl PathTree {
    pub fn insert(&mut self, path: &[u8], id: u32) {
        let mut branch = &mut self.root;
        for part in components(path) {
            branch = if is_pattern(part) {
                let glob = Glob::new(part);
                let at = branch.globs.iter().position(|(g, _)| *g == glob).unwrap_or_else(|| {
                    branch.globs.push((glob, Branch::default()));
                    branch.globs.len() - 1
                });
                &mut branch.globs[at].1
            } else {
                branch.plain.entry_ref(part).or_default()
            };
        }
        branch.ends.push(id);
    }

    /// Hands out the number of every path that is a prefix of this one.
    pub fn walk(&self, path: &[u8], found: &mut impl FnMut(u32)) {
        self.root.walk(path, found);
    }
}

impl Branch {
    fn walk(&self, path: &[u8], found: &mut impl FnMut(u32)) {
        self.ends.iter().for_each(|id| found(*id));
        if self.plain.is_empty() && self.globs.is_empty() {
            return;
        }
        let Some(start) = path.iter().position(|&b| b != b'/') else { return };
        let path = &path[start..];
        let (part, rest) = path.split_at(memchr::memchr(b'/', path).unwrap_or(path.len()));
        if let Some(branch) = self.plain.get(part) {
            branch.walk(rest, found);
        }
        for (_, branch) in self.globs.iter().filter(|(glob, _)| glob.is_match(part)) {
            branch.walk(rest, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prefixes: &[&str], path: &str) -> bool {
        PathPrefixes::new(prefixes.iter().map(|p| p.as_bytes())).is_match(path.as_bytes())
    }

    #[test]
    fn prefixes_end_at_components() {
        assert!(check(&["/var"], "/var/log"));
        assert!(check(&["/var"], "/var"));
        assert!(check(&["/var/"], "//var"));
        assert!(!check(&["/var"], "/variable"));
        assert!(!check(&["/var/log"], "/var"));
        assert!(check(&["/"], "/anything") && check(&["/"], "/"));
        assert!(!check(&[], "/a"));
        assert!(check(&["/var/log/deep", "/var"], "/var/x"));
    }

    #[test]
    fn components_may_be_patterns() {
        assert!(check(&["/home/*/.ssh"], "/home/me/.ssh/id"));
        assert!(!check(&["/home/*/.ssh"], "/home/me/x/.ssh"));
        assert!(check(&["/a/x", "/a/?/c"], "/a/x/c/d"));
        assert!(check(&["/a/b/nope", "/a/?/c"], "/a/b/c"));
    }
}
