//! The report of bench/index, as far as a peer fills it in.

use serde::Serialize;
use std::time::{Duration, Instant};

#[derive(Default, Serialize)]
pub struct Report {
    pub backend: String,
    pub persistent: bool,
    pub blocks_ingested: u64,
    pub ingest_secs: f64,
    pub ingest_puts_per_sec: f64,
    pub churn_ops: u64,
    pub churn_secs: f64,
    pub churn_ops_per_sec: f64,
    pub scan_queries: u64,
    pub scan_mean_us: f64,
    pub scan_p50_us: f64,
    pub scan_p99_us: f64,
    pub scan_p999_us: f64,
    pub recovery_ms: Option<f64>,
    pub physical_bytes_written: u64,
    pub write_amplification: f64,
    pub metrics: Metrics,
    pub user_bytes: u64,
    pub kernel: Kernel,
    pub disk_bytes: u64,
    pub scan_misses: Latency,
    pub populations: Vec<Population>,
    pub failures: Vec<String>,
}

#[derive(Default, Serialize)]
pub struct Metrics {
    pub resident_blocks: u64,
    pub resident_bytes: u64,
    pub puts: u64,
    pub removes: u64,
    pub prefix_scans: u64,
    pub bytes_written: u64,
}

#[derive(Default, Clone, Copy, Serialize)]
pub struct Kernel {
    pub write_bytes: u64,
    pub wchar: u64,
    pub syscw: u64,
}

#[derive(Default, Serialize)]
pub struct Latency {
    pub calls: usize,
    pub records: f64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

#[derive(Default, Serialize)]
pub struct Population {
    pub asked: usize,
    pub records: usize,
    pub batch: usize,
    pub writers: usize,
    pub puts_per_sec: f64,
    pub flush_secs: f64,
    pub user_bytes: u64,
    pub kernel: Kernel,
    pub write_amplification: f64,
    pub disk_bytes: u64,
    pub memory_bytes_per_record: f64,
    pub scan: Latency,
    pub scan_miss: Latency,
    pub scan_long: Latency,
    pub locate: Latency,
    pub remove: Latency,
    pub durable_puts: Vec<Puts>,
    pub reopen_ms: f64,
}

#[derive(Default, Serialize)]
pub struct Puts {
    pub batch: usize,
    pub writers: usize,
    pub puts_per_sec: f64,
}

/// Percentiles as the original has them: the element at round((n-1)p).
pub fn latency(mut ns: Vec<u64>, records: usize) -> Latency {
    if ns.is_empty() {
        return Latency::default();
    }
    ns.sort_unstable();
    let at = |p: f64| ns[((ns.len() - 1) as f64 * p).round() as usize] as f64 / 1e3;
    let n = ns.len() as f64;
    Latency {
        calls: ns.len(),
        records: records as f64 / n,
        mean_us: ns.iter().sum::<u64>() as f64 / n / 1e3,
        p50_us: at(0.5),
        p99_us: at(0.99),
        p999_us: at(0.999),
        max_us: at(1.0),
    }
}

/// Takes the time of up to n calls, which return how many records they found.
pub fn timed(n: usize, limit: Duration, mut f: impl FnMut(usize) -> usize) -> Latency {
    let mut ns = Vec::with_capacity(n);
    let mut records = 0;
    let begin = Instant::now();
    for i in 0..n {
        let start = Instant::now();
        records += f(i);
        let now = Instant::now();
        ns.push((now - start).as_nanos() as u64);
        if now - begin > limit {
            break;
        }
    }
    latency(ns, records)
}

/// What the kernel counted of this process.
pub fn counted() -> Kernel {
    let mut k = Kernel::default();
    for line in std::fs::read_to_string("/proc/self/io").unwrap_or_default().lines() {
        if let Some((key, value)) = line.split_once(": ") {
            let n = value.trim().parse().unwrap_or(0);
            match key {
                "write_bytes" => k.write_bytes = n,
                "wchar" => k.wchar = n,
                "syscw" => k.syscw = n,
                _ => {}
            }
        }
    }
    k
}

pub fn since(k: Kernel) -> Kernel {
    let now = counted();
    Kernel {
        write_bytes: now.write_bytes - k.write_bytes,
        wchar: now.wchar - k.wchar,
        syscw: now.syscw - k.syscw,
    }
}

/// Anonymous memory that this process holds.
pub fn memory() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("RssAnon:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.0) * 1024.0
}

/// What the files below a folder take of the disk.
pub fn disk(dir: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .filter_map(|e| e.metadata().ok().map(|m| (e, m)))
        .map(|(e, m)| if m.is_dir() { disk(&e.path()) } else { m.blocks() * 512 })
        .sum()
}
