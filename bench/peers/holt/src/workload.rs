//! The harness's blocks and the populations of bench/index, record by record
//! the same.

use crate::record::{Key, Record, Tier};

pub struct Harness {
    pub requests: usize,
    pub shared: usize,
    pub unique: usize,
    pub tokens: u32,
    pub bytes: u64,
    pub scans: usize,
    pub churn: usize,
}

pub fn bench_key(prefix: String, hash: String, index: u32, tokens: u32) -> Key {
    Key {
        model_id: "bench-model".into(),
        tokenizer_id: "bench-tok".into(),
        adapter_id: None,
        tenant_id: "bench-tenant".into(),
        prefix_hash: prefix,
        block_hash: hash,
        block_index: index,
        token_count: tokens,
    }
}

impl Harness {
    pub fn block(&self, request: usize, i: usize) -> Record {
        let (prefix, hash) = if i < self.shared {
            (format!("sp-{i}"), format!("shared-{i}"))
        } else {
            let j = i - self.shared;
            (format!("uq-{request}-{j}"), format!("uniq-{request}-{j}"))
        };
        Record {
            key: bench_key(prefix, hash, i as u32, self.tokens),
            worker_id: "worker-0".into(),
            tier: Tier::Hbm,
            bytes: self.bytes,
            last_access_ms: 0,
            ref_count: 0,
            pinned: false,
        }
    }
}

pub const PROMPT: usize = 200;

pub struct Population {
    pub n: usize,
    pub fan: usize,
}

pub fn mix(n: u64) -> u64 {
    let mut n = n.wrapping_add(1).wrapping_mul(0x9e3779b97f4a7c15);
    n = (n ^ (n >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94d049bb133111eb);
    n ^ (n >> 31)
}

pub fn hash_of(i: usize) -> String {
    mix(i as u64).to_string()
}

impl Population {
    pub fn new(n: usize) -> Self {
        Population { n, fan: (n / 10).min(1000) }
    }

    /// Whether record i is the only one with its parent.
    pub fn inner(&self, i: usize) -> bool {
        i > self.fan && (i - self.fan) % PROMPT != 0
    }

    pub fn prefix(&self, i: usize) -> String {
        if i < self.fan {
            "fan".into()
        } else if (i - self.fan) % PROMPT == 0 {
            "root".into()
        } else {
            hash_of(i - 1)
        }
    }

    pub fn record(&self, i: usize) -> Record {
        let at = i.saturating_sub(self.fan);
        let index = if i >= self.fan { (at % PROMPT) as u32 } else { 0 };
        Record {
            key: bench_key(self.prefix(i), hash_of(i), index, 64),
            worker_id: format!("worker-{}", at / PROMPT % 64),
            tier: Tier::Hbm,
            bytes: 4 << 20,
            last_access_ms: 1_750_000_000_000 + i as u64,
            ref_count: 0,
            pinned: false,
        }
    }
}

/// Numbers in no order, the same in each run and as in bench/index.
pub struct Draws(pub u64);

impl Draws {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 += 1;
        (mix(self.0 ^ u64::from_le_bytes(*b"kvferry!")) % n as u64) as usize
    }
}
