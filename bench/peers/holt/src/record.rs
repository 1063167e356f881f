//! Records as QuillCache keeps them: two entries each, values as JSON.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Key {
    pub model_id: String,
    pub tokenizer_id: String,
    pub adapter_id: Option<String>,
    pub tenant_id: String,
    pub prefix_hash: String,
    pub block_hash: String,
    pub block_index: u32,
    pub token_count: u32,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Tier {
    Hbm,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub key: Key,
    pub worker_id: String,
    pub tier: Tier,
    pub bytes: u64,
    pub last_access_ms: u64,
    pub ref_count: u32,
    pub pinned: bool,
}

fn field(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

fn scope(tag: u8, k: &Key) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.push(tag);
    field(&mut out, &k.model_id);
    field(&mut out, &k.tokenizer_id);
    field(&mut out, k.adapter_id.as_deref().unwrap_or(""));
    field(&mut out, &k.tenant_id);
    out
}

/// The seek prefix of all records with one parent.
pub fn scan_prefix(k: &Key, parent: &str) -> Vec<u8> {
    let mut out = scope(1, k);
    field(&mut out, parent);
    out
}

/// The seek prefix of all records of one block.
pub fn locate_prefix(k: &Key) -> Vec<u8> {
    let mut out = scan_prefix(k, &k.prefix_hash);
    field(&mut out, &k.block_hash);
    out.extend_from_slice(&k.block_index.to_be_bytes());
    out.push(0);
    out
}

pub fn primary(r: &Record) -> Vec<u8> {
    let mut out = locate_prefix(&r.key);
    field(&mut out, &r.worker_id);
    out.extend_from_slice(b"hbm");
    out
}

/// The seek prefix of all records of one content hash on a worker.
pub fn remove_prefix(r: &Record) -> Vec<u8> {
    let mut out = scope(2, &r.key);
    field(&mut out, &r.key.block_hash);
    field(&mut out, &r.worker_id);
    out
}

pub fn secondary(r: &Record) -> Vec<u8> {
    let mut out = remove_prefix(r);
    field(&mut out, "hbm");
    field(&mut out, &r.key.prefix_hash);
    out.extend_from_slice(&r.key.block_index.to_be_bytes());
    out
}

/// What a record hands to an index: strings at their length, numbers at their
/// width, as in bench/index.
pub fn user_bytes(r: &Record) -> u64 {
    let k = &r.key;
    let text = k.model_id.len() + k.tokenizer_id.len() + k.tenant_id.len() + k.prefix_hash.len();
    (text + k.block_hash.len() + r.worker_id.len() + 34) as u64
}
