//! Times BLAKE3 of the blake3 crate, its C and assembly kernels, and prints lines
//! of JSON for kvferry's harness (bench/harness/peer.go).
//!
//!     blake3-rs [--sizes 4096,184320] [--threads 1,2] [--millis 100]
//!
//! For each size and number of threads it prints
//!
//!     op=sum/size=BYTES/threads=N/hash=blake3-rs      bytes per second of all threads
//!
//! A burst is about a millisecond: the threads start together, each hashes a
//! buffer of its own over and over, and it lasts until the last is done. The rate
//! is that of the fastest burst within as many milliseconds as were asked for.
//! Rayon is not used: a hash takes one thread.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde_json::json;

const VERSION: &str = "blake3 1.8.2";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (mut sizes, mut threads, mut millis) = (vec![4096, 184_320], vec![1, 2], 100);
    for pair in args.chunks(2) {
        let done = match pair {
            [k, v] if k == "--sizes" => numbers(v).map(|n| sizes = n),
            [k, v] if k == "--threads" => numbers(v).map(|n| threads = n),
            [k, v] if k == "--millis" => v.parse().ok().map(|n| millis = n),
            _ => None,
        };
        if done.is_none() {
            eprintln!("blake3-rs: cannot use {pair:?}; the arguments are in its source");
            return ExitCode::from(2);
        }
    }
    for &size in &sizes {
        for &n in &threads {
            let rate = time(size, n, Duration::from_millis(millis));
            let name = format!("op=sum/size={size}/threads={n}/hash=blake3-rs");
            println!("{}", json!({"name": name, "version": VERSION, "unit": "B/s", "value": rate}));
        }
    }
    ExitCode::SUCCESS
}

fn numbers(text: &str) -> Option<Vec<usize>> {
    text.split(',').map(|n| n.parse().ok().filter(|&n| n > 0)).collect()
}

/// Hashes in n threads, of which this is one, and returns the rate of the fastest burst.
fn time(size: usize, n: usize, least: Duration) -> f64 {
    let times = (2_000_000 / size).max(1);
    let (begin, end) = (&Barrier::new(n), &Barrier::new(n));
    let over = &AtomicBool::new(false);
    let work = move |data: &[u8]| {
        for _ in 0..times {
            black_box(blake3::hash(black_box(data)));
        }
        end.wait();
    };
    std::thread::scope(|s| {
        for seed in 1..n {
            s.spawn(move || {
                let data = noise(size, seed);
                loop {
                    begin.wait();
                    if over.load(Relaxed) {
                        return;
                    }
                    work(&data);
                }
            });
        }
        let (data, started, mut best) = (noise(size, 0), Instant::now(), Duration::MAX);
        while best == Duration::MAX || started.elapsed() < least {
            let start = Instant::now();
            begin.wait();
            work(&data);
            best = best.min(start.elapsed());
        }
        over.store(true, Relaxed);
        begin.wait();
        (n * times * size) as f64 / best.as_secs_f64()
    })
}

fn noise(size: usize, seed: usize) -> Vec<u8> {
    (0..size).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}
