//! Runs the workload of `kvferry bench index` on Holt as QuillCache's index uses
//! it, and prints a list of reports. Each variant runs in a process of its own.
//!
//! index-holt --dir DIR [the harness's flags] [--records N]... [--fill-seconds S] [--each-ms MS]

mod population;
mod record;
mod report;
mod tree;
mod workload;

use record::{scan_prefix, user_bytes};
use report::{counted, disk, since, timed, Metrics, Report};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tree::{open05, open09, put, remove, scan, Open, Tree};
use workload::Harness;

/// How many records are made before the clock goes on.
pub const CHUNK: usize = 1024;

pub struct Flags {
    pub dir: PathBuf,
    pub records: Vec<usize>,
    pub fill: Duration,
    /// How long one thing is measured at most.
    pub each: Duration,
    pub sync: bool,
    pub open: Open,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|a| a == name).map(|i| args[i + 1].clone());
    let Some(variant) = value("--variant") else { return all(&args) };
    let number = |name: &str, or: u64| value(name).map_or(or, |v| v.parse().expect(name));
    let (version, sync) = variant.split_once(' ').unwrap_or((&variant, ""));
    let mut flags = Flags {
        dir: PathBuf::from(value("--dir").expect("--dir")),
        records: Vec::new(),
        // With a sync for each put little is reached in any time: a quarter tells the rate.
        fill: Duration::from_secs(number("--fill-seconds", 60)) / if sync.is_empty() { 1 } else { 4 },
        each: Duration::from_millis(number("--each-ms", 2000)),
        sync: !sync.is_empty(),
        open: if version == "holt-0.5.4" { open05 } else { open09 },
    };
    for pair in args.windows(2).filter(|p| p[0] == "--records") {
        flags.records.push(pair[1].parse().expect("--records"));
    }
    let h = Harness {
        requests: number("--requests", 2000) as usize,
        shared: number("--shared-prefix-blocks", 16) as usize,
        unique: number("--unique-blocks", 4) as usize,
        tokens: number("--block-tokens", 64) as u32,
        bytes: number("--block-bytes", 4 << 20),
        scans: number("--scan-queries", 20000) as usize,
        churn: number("--churn-ops", 0) as usize,
    };
    let mut rep = harness(&h, &flags);
    rep.backend = variant.clone();
    if flags.sync {
        flags.records.truncate(1); // what a sync for each put allows
    }
    for &n in &flags.records {
        let found = population::measure(n, &flags, &mut rep.failures);
        rep.populations.push(found);
    }
    println!("{}", serde_json::to_string(&rep).expect("json"));
}

/// Runs every variant in a child.
fn all(args: &[String]) {
    let this = std::env::current_exe().expect("own path");
    let mut reports = Vec::new();
    for variant in ["holt-0.5.4", "holt-0.9.2", "holt-0.5.4 sync", "holt-0.9.2 sync"] {
        let out = Command::new(&this).args(args).args(["--variant", variant]).output().expect("child");
        if !out.status.success() {
            eprintln!("{variant}: {}", String::from_utf8_lossy(&out.stderr));
            std::process::exit(1);
        }
        reports.push(String::from_utf8(out.stdout).expect("text"));
    }
    println!("[{}]", reports.join(","));
}

/// The original's harness.
fn harness(h: &Harness, flags: &Flags) -> Report {
    let dir = flags.dir.join("harness");
    std::fs::create_dir_all(&dir).expect("folder");
    let before = counted();
    let tree = (flags.open)(&dir, flags.sync).expect("open");
    let mut rep = Report { persistent: true, ..Report::default() };
    ingest(h, tree.as_ref(), flags, &mut rep);
    churn(h, tree.as_ref(), flags, &mut rep);
    let some = workload::bench_key(String::new(), String::new(), 0, 0);
    let prefixes = |what: &str| -> Vec<String> { (0..h.shared.max(1)).map(|i| format!("{what}-{i}")).collect() };
    let (hits, misses) = (prefixes("sp"), prefixes("no"));
    let ask = |p: &[String]| timed(h.scans, Duration::MAX, |i| scan(tree.as_ref(), &scan_prefix(&some, &p[i % p.len()])).len());
    let l = ask(&hits);
    assert!(l.calls == 0 || l.records == 1.0, "a scan returned {} records", l.records);
    rep.scan_queries = l.calls as u64;
    (rep.scan_mean_us, rep.scan_p50_us, rep.scan_p99_us, rep.scan_p999_us) = (l.mean_us, l.p50_us, l.p99_us, l.p999_us);
    rep.scan_misses = ask(&misses);
    tree.checkpoint();
    rep.kernel = since(before);
    rep.physical_bytes_written = rep.kernel.write_bytes;
    rep.write_amplification = rep.physical_bytes_written as f64 / rep.user_bytes as f64;
    rep.disk_bytes = disk(&dir);
    let mut m = Metrics { bytes_written: rep.disk_bytes, ..Metrics::default() };
    for r in scan(tree.as_ref(), &[1]) {
        m.resident_blocks += 1;
        m.resident_bytes += r.bytes;
    }
    rep.metrics = m;
    drop(tree);
    let start = Instant::now();
    match (flags.open)(&dir, flags.sync) {
        Ok(_) => rep.recovery_ms = Some(start.elapsed().as_nanos() as f64 / 1e6),
        Err(e) => rep.failures.push(format!("harness: what was closed does not open: {e}")),
    }
    std::fs::remove_dir_all(&dir).expect("folder");
    rep
}

/// A sync for each put may take longer than there is time for: then fewer are
/// put, and the report says how many.
fn ingest(h: &Harness, tree: &dyn Tree, flags: &Flags, rep: &mut Report) {
    let each = h.shared + h.unique;
    let (total, mut done, mut took) = (h.requests * each, 0, Duration::ZERO);
    while done < total && took < flags.fill {
        let least = if flags.sync { 8 } else { CHUNK };
        let records: Vec<_> = (done..total.min(done + least)).map(|i| h.block(i / each, i % each)).collect();
        rep.user_bytes += records.iter().map(user_bytes).sum::<u64>();
        let start = Instant::now();
        for r in &records {
            put(tree, r);
        }
        took += start.elapsed();
        done += records.len();
    }
    rep.blocks_ingested = done as u64;
    rep.ingest_secs = took.as_secs_f64();
    rep.ingest_puts_per_sec = done as f64 / took.as_secs_f64();
}

fn churn(h: &Harness, tree: &dyn Tree, flags: &Flags, rep: &mut Report) {
    let mut took = Duration::ZERO;
    for c in 0..h.churn {
        if took >= flags.fill {
            break;
        }
        let records: Vec<_> = (0..h.unique).map(|j| h.block(c % h.requests.max(1), h.shared + j)).collect();
        rep.user_bytes += records.iter().map(|r| user_bytes(r) + (r.key.block_hash.len() + r.worker_id.len()) as u64).sum::<u64>();
        let start = Instant::now();
        for r in &records {
            remove(tree, r);
        }
        for r in &records {
            put(tree, r);
        }
        took += start.elapsed();
        rep.churn_ops += 2 * h.unique as u64;
    }
    rep.churn_secs = took.as_secs_f64();
    rep.churn_ops_per_sec = if rep.churn_ops == 0 { 0.0 } else { rep.churn_ops as f64 / rep.churn_secs };
}
