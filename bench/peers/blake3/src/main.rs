//! Times BLAKE3 of the blake3 crate, its C and assembly kernels, and prints lines
//! of JSON for kvferry's harness (bench/harness/peer.go).
//!
//!     blake3-rs [--sizes 4096,184320] [--threads 1,2] [--millis 100]
//!               [--burst-millis 0] [--memory 0]
//!
//! For each size and number of threads it prints
//!
//!     op=sum/size=BYTES/threads=N/hash=blake3-rs      bytes per second of all threads
//!
//! A burst is about a millisecond, or as long as takes --burst-millis: the threads
//! start together, each hashes a buffer of its own over and over, and it lasts
//! until the last is done. With --memory a buffer has so many bytes, and each hash
//! is of the next part of it. The rate is that of the fastest burst within as many
//! milliseconds as were asked for. Rayon is not used: a hash takes one thread.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde_json::json;

const VERSION: &str = "blake3 1.8.2";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (mut sizes, mut threads, mut millis) = (vec![4096, 184_320], vec![1, 2], 100);
    let (mut burst, mut memory) = (0, 0);
    for pair in args.chunks(2) {
        let done = match pair {
            [k, v] if k == "--sizes" => numbers(v).map(|n| sizes = n),
            [k, v] if k == "--threads" => numbers(v).map(|n| threads = n),
            [k, v] if k == "--millis" => v.parse().ok().map(|n| millis = n),
            [k, v] if k == "--burst-millis" => v.parse().ok().map(|n| burst = n),
            [k, v] if k == "--memory" => v.parse().ok().map(|n| memory = n),
            _ => None,
        };
        if done.is_none() {
            eprintln!("blake3-rs: cannot use {pair:?}; the arguments are in its source");
            return ExitCode::from(2);
        }
    }
    for &size in &sizes {
        for &n in &threads {
            let rate = time(size, n, Duration::from_millis(millis), Duration::from_millis(burst), memory);
            let name = format!("op=sum/size={size}/threads={n}/hash=blake3-rs");
            println!("{}", json!({"name": name, "version": VERSION, "unit": "B/s", "value": rate}));
        }
    }
    ExitCode::SUCCESS
}

fn numbers(text: &str) -> Option<Vec<usize>> {
    text.split(',').map(|n| n.parse().ok().filter(|&n| n > 0)).collect()
}

/// Goes from part to part of a buffer, round and round.
struct Walk {
    data: Vec<u8>,
    size: usize,
    at: usize,
}

impl Walk {
    fn new(size: usize, seed: usize, memory: usize) -> Walk {
        Walk { data: noise((memory / size).max(1) * size, seed), size, at: 0 }
    }

    fn next(&mut self) -> &[u8] {
        let from = self.at;
        self.at = (from + self.size) % self.data.len();
        &self.data[from..from + self.size]
    }
}

/// Hashes in n threads, of which this is one, and returns the rate of the fastest
/// burst. The first bursts only tell how many hashes are enough for one.
fn time(size: usize, n: usize, least: Duration, enough: Duration, memory: usize) -> f64 {
    let times = &AtomicUsize::new((2_000_000 / size).max(1));
    let (begin, end) = (&Barrier::new(n), &Barrier::new(n));
    let over = &AtomicBool::new(false);
    let work = move |parts: &mut Walk| {
        for _ in 0..times.load(Relaxed) {
            black_box(blake3::hash(black_box(parts.next())));
        }
        end.wait();
    };
    std::thread::scope(|s| {
        for seed in 1..n {
            s.spawn(move || {
                let mut parts = Walk::new(size, seed, memory);
                loop {
                    begin.wait();
                    if over.load(Relaxed) {
                        return;
                    }
                    work(&mut parts);
                }
            });
        }
        let mut parts = Walk::new(size, 0, memory);
        let mut burst = || {
            let start = Instant::now();
            begin.wait();
            work(&mut parts);
            start.elapsed().max(Duration::from_nanos(1))
        };
        let mut took = burst(); // which waits for the others' buffers, too
        if !enough.is_zero() {
            took = burst();
        }
        while took < enough {
            let now = times.load(Relaxed);
            let more = 1.2 * now as f64 * enough.as_secs_f64() / took.as_secs_f64();
            times.store(1 + more.min(8.0 * now as f64) as usize, Relaxed);
            took = burst();
        }
        let (started, mut best) = (Instant::now(), Duration::MAX);
        while best == Duration::MAX || started.elapsed() < least {
            best = best.min(burst());
        }
        over.store(true, Relaxed);
        begin.wait();
        (n * times.load(Relaxed) * size) as f64 / best.as_secs_f64()
    })
}

fn noise(size: usize, seed: usize) -> Vec<u8> {
    (0..size).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}
