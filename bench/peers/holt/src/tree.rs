//! The index over the versions of Holt: two puts for a record, the primary
//! entry with its JSON and the secondary one with the primary's key.

use crate::record::{primary, remove_prefix, secondary, Record};
use std::path::Path;

/// What the workload needs of a tree.
pub trait Tree: Sync {
    fn put(&self, key: &[u8], value: &[u8]);
    fn delete(&self, key: &[u8]) -> bool;
    /// Calls visit for each entry that begins with a prefix, until it is false.
    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(Vec<u8>, Vec<u8>) -> bool);
    fn checkpoint(&self);
}

/// Opens a tree, or says why not: it happens that what was closed does not open.
pub type Open = fn(&Path, bool) -> Result<Box<dyn Tree>, String>;

macro_rules! tree {
    ($name:ident, $holt:ident, $open:ident) => {
        struct $name($holt::Tree);

        impl Tree for $name {
            fn put(&self, key: &[u8], value: &[u8]) {
                self.0.put(key, value).expect("put");
            }
            fn delete(&self, key: &[u8]) -> bool {
                self.0.delete(key).expect("delete")
            }
            fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(Vec<u8>, Vec<u8>) -> bool) {
                for entry in self.0.scan(prefix) {
                    if let $holt::RangeEntry::Key { key, value, .. } = entry.expect("scan") {
                        if !visit(key, value) {
                            return;
                        }
                    }
                }
            }
            fn checkpoint(&self) {
                self.0.checkpoint().expect("checkpoint");
            }
        }

        pub fn $open(dir: &Path, sync: bool) -> Result<Box<dyn Tree>, String> {
            let durability = $holt::Durability::Wal { sync };
            let tree = $holt::TreeBuilder::new(dir.join("index.holt")).durability(durability).open();
            tree.map(|t| Box::new($name(t)) as Box<dyn Tree>).map_err(|e| e.to_string())
        }
    };
}

tree!(Tree05, holt05, open05);
tree!(Tree09, holt09, open09);

pub fn put(t: &dyn Tree, r: &Record) {
    let key = primary(r);
    t.put(&key, &serde_json::to_vec(r).expect("json"));
    t.put(&secondary(r), &key);
}

/// Appends the records whose entries begin with a prefix.
pub fn scan(t: &dyn Tree, prefix: &[u8]) -> Vec<Record> {
    let mut out = Vec::new();
    t.scan(prefix, &mut |_, value| {
        out.extend(serde_json::from_slice::<Record>(&value));
        true
    });
    out
}

pub fn remove(t: &dyn Tree, r: &Record) -> usize {
    let mut found = Vec::new();
    t.scan(&remove_prefix(r), &mut |key, value| {
        found.push((key, value));
        true
    });
    let mut n = 0;
    for (key, value) in found {
        n += t.delete(&value) as usize;
        t.delete(&key);
    }
    n
}
