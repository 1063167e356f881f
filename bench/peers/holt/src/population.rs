//! Populations of many records.

use crate::record::{locate_prefix, scan_prefix, user_bytes};
use crate::report::{counted, disk, latency, memory, since, timed, Population as Found, Puts};
use crate::tree::{put, remove, scan, Tree};
use crate::workload::{hash_of, Draws, Population};
use crate::{Flags, CHUNK};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const CALLS: usize = 200_000;

pub fn measure(asked: usize, flags: &Flags, failures: &mut Vec<String>) -> Found {
    let dir = flags.dir.join(format!("population-{asked}"));
    std::fs::create_dir_all(&dir).expect("folder");
    let mut p = Population::new(asked);
    let mut out = Found { asked, batch: 1, writers: 1, ..Found::default() };
    let tree = fill(&mut p, flags, &dir, &mut out);
    out.disk_bytes = disk(&dir);
    if p.n > 2 * p.fan {
        read(&p, tree.as_ref(), flags, &mut out);
    } else {
        failures.push(format!("{asked} records: {} were put in the time, too few to read", p.n));
    }
    write(&p, tree.as_ref(), flags, &mut out);
    tree.checkpoint();
    drop(tree);
    let start = Instant::now();
    match (flags.open)(&dir, flags.sync) {
        Ok(_) => out.reopen_ms = start.elapsed().as_nanos() as f64 / 1e6,
        Err(e) => failures.push(format!("{asked} records: what was closed does not open: {e}")),
    }
    std::fs::remove_dir_all(&dir).expect("folder");
    out
}

fn fill(p: &mut Population, flags: &Flags, dir: &std::path::Path, out: &mut Found) -> Box<dyn Tree> {
    let (mem, before) = (memory(), counted());
    let tree = (flags.open)(dir, flags.sync).expect("open");
    let mut took = Duration::ZERO;
    while out.records < p.n && took < flags.fill {
        let least = if flags.sync { 8 } else { CHUNK };
        let records: Vec<_> = (out.records..p.n.min(out.records + least)).map(|i| p.record(i)).collect();
        out.user_bytes += records.iter().map(user_bytes).sum::<u64>();
        let start = Instant::now();
        for r in &records {
            put(tree.as_ref(), r);
        }
        took += start.elapsed();
        out.records += records.len();
    }
    out.puts_per_sec = out.records as f64 / took.as_secs_f64();
    let start = Instant::now();
    tree.checkpoint();
    out.flush_secs = start.elapsed().as_secs_f64();
    out.kernel = since(before);
    out.write_amplification = out.kernel.write_bytes as f64 / out.user_bytes as f64;
    out.memory_bytes_per_record = (memory() - mem).max(0.0) / out.records as f64;
    p.n = out.records;
    tree
}

fn read(p: &Population, tree: &dyn Tree, flags: &Flags, out: &mut Found) {
    let mut draws = Draws(0);
    let some = p.record(0).key;
    let mut hits = Vec::new();
    while hits.len() < 1 << 16 {
        let i = draws.below(p.n);
        if p.inner(i) {
            hits.push(hash_of(i - 1));
        }
    }
    let misses: Vec<_> = (0..1 << 16).map(|i| hash_of(p.n + i)).collect();
    let keys: Vec<_> = (0..1 << 14).map(|_| p.record(draws.below(p.n)).key).collect();
    let ask = |prefixes: &[String]| timed(CALLS, flags.each, |i| scan(tree, &scan_prefix(&some, &prefixes[i % prefixes.len()])).len());
    out.scan = ask(&hits);
    out.scan_miss = ask(&misses);
    out.scan_long = ask(&["fan".to_string()]);
    assert_eq!((out.scan.records, out.scan_miss.records), (1.0, 0.0), "a scan was wrong");
    out.locate = timed(CALLS, flags.each, |i| scan(tree, &locate_prefix(&keys[i % keys.len()])).len());
}

fn write(p: &Population, tree: &dyn Tree, flags: &Flags, out: &mut Found) {
    let mut draws = Draws(1 << 32);
    let (mut ns, begin) = (Vec::new(), Instant::now());
    while begin.elapsed() < flags.each && ns.len() < CALLS {
        let r = p.record(draws.below(p.n));
        let start = Instant::now();
        assert_eq!(remove(tree, &r), 1, "a removal was wrong");
        ns.push(start.elapsed().as_nanos() as u64);
        put(tree, &r);
    }
    let n = ns.len();
    out.remove = latency(ns, n);
    if flags.sync {
        out.durable_puts = [1, 16].map(|writers| durable(p, tree, flags.each, writers)).into();
    }
}

/// Puts by writers at once, each of them durable when it returns.
fn durable(p: &Population, tree: &dyn Tree, each: Duration, writers: usize) -> Puts {
    let done = AtomicUsize::new(0);
    let begin = Instant::now();
    std::thread::scope(|s| {
        for w in 0..writers {
            let done = &done;
            s.spawn(move || {
                let mut draws = Draws((w as u64) << 40);
                let records: Vec<_> = (0..16).map(|_| p.record(draws.below(p.n))).collect();
                for r in records.iter().cycle() {
                    if begin.elapsed() >= each {
                        break;
                    }
                    put(tree, r);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    Puts { batch: 1, writers, puts_per_sec: done.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64() }
}
