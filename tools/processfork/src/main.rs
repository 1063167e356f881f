//! Drives ProcessFork's own crates from the command line.
//!
//!     processfork-reader write DIR P,L,H,D,DTYPE PAGES SEED   capture its synthetic cache, print the manifest's digest
//!     processfork-reader read  DIR DIGEST                     restore, print geometry, pages and sequences
//!     processfork-reader parse                                one hex-coded manifest per line on stdin: what the crates make of it
//!     processfork-reader bench P,L,H,D,DTYPE PAGES RUNS       time capture and restore with its memory store
//!
//! Exit status: 0 done, 1 the crates returned an error, 2 wrong usage.

use std::error::Error;
use std::io::BufRead;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use pf_cache::{capture_cache, restore_cache, CacheMeta, CachePager, PageManifest, SyntheticCachePager, LAYOUT_V1};
use pf_core::cas::{BlobStore, FsBlobStore, MemBlobStore};
use pf_core::digest::Digest256;
use serde_json::{json, Value};

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args[..] {
        ["write", dir, geometry, pages, seed] => write(dir, geometry, pages, seed),
        ["read", dir, digest] => read(dir, digest),
        ["parse"] => parse(),
        ["bench", geometry, pages, runs] => bench(geometry, pages, runs),
        _ => {
            eprintln!("usage: processfork-reader write|read|parse|bench ...; see the source");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("processfork-reader: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Parses `P,L,H,D,DTYPE`: page tokens, layers, heads, head dimension, element type.
fn geometry(text: &str) -> Result<CacheMeta, Box<dyn Error>> {
    let [p, l, h, d, dtype] = text.split(',').collect::<Vec<_>>()[..] else {
        return Err(format!("geometry {text:?}: want P,L,H,D,DTYPE").into());
    };
    Ok(CacheMeta {
        page_size_tokens: p.parse()?,
        n_layers: l.parse()?,
        n_heads: h.parse()?,
        head_dim: d.parse()?,
        dtype: serde_json::from_value(Value::from(dtype))?,
    })
}

fn populated(meta: CacheMeta, pages: &str, seed: &str) -> Result<SyntheticCachePager, Box<dyn Error>> {
    let mut pager = SyntheticCachePager::new(meta);
    pager.populate_synthetic(pages.parse()?, seed.parse()?)?;
    Ok(pager)
}

fn write(dir: &str, meta: &str, pages: &str, seed: &str) -> Outcome {
    let mut pager = populated(geometry(meta)?, pages, seed)?;
    println!("{}", capture_cache(&mut pager, &FsBlobStore::open(dir)?)?.as_str());
    Ok(())
}

fn read(dir: &str, digest: &str) -> Outcome {
    let store = FsBlobStore::open(dir)?;
    let digest = Digest256::parse(digest)?;
    let manifest: PageManifest = serde_json::from_slice(&store.get(&digest)?)?;
    let mut pager = SyntheticCachePager::new(manifest.meta);
    restore_cache(&mut pager, &store, &digest)?;
    println!("{}", serde_json::to_value(manifest.meta)?);
    for ix in pager.occupied_pages() {
        let page = pager.read_page(ix)?;
        let (k, v) = (Digest256::of(&page.k), Digest256::of(&page.v));
        println!("{}", json!({"ix": ix, "k": k.as_str(), "v": v.as_str()}));
    }
    println!("{}", serde_json::to_value(pager.logical_seqs())?);
    Ok(())
}

/// Prints, for each manifest, whether it parses, whether its layout is the known one, and the digest of its canonical
/// form.
fn parse() -> Outcome {
    for line in std::io::stdin().lock().lines() {
        let text = unhex(line?.trim())?;
        println!("{}", match serde_json::from_slice::<PageManifest>(&text) {
            Err(e) => json!({"ok": false, "error": e.to_string()}),
            Ok(mut manifest) => {
                manifest.canonicalize();
                let digest = Digest256::of(&serde_json::to_vec(&manifest)?);
                json!({"ok": true, "layout": manifest.layout == LAYOUT_V1, "digest": digest.as_str()})
            }
        });
    }
    Ok(())
}

fn unhex(text: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    if !text.is_ascii() || text.len() % 2 != 0 {
        return Err("stdin: want pairs of hexadecimal digits".into());
    }
    (0..text.len()).step_by(2).map(|i| Ok(u8::from_str_radix(&text[i..i + 2], 16)?)).collect()
}

/// Times each direction with a fresh store and pager and prints the best and the median in nanoseconds. Its memory
/// store does not hash on reading.
fn bench(meta: &str, pages: &str, runs: &str) -> Outcome {
    let meta = geometry(meta)?;
    let mut pager = populated(meta, pages, "0")?;
    let (mut out, mut back) = (Vec::new(), Vec::new());
    for _ in 0..runs.parse::<usize>()?.max(1) {
        let store = MemBlobStore::new();
        let start = Instant::now();
        let digest = capture_cache(&mut pager, &store)?;
        out.push(start.elapsed());
        let start = Instant::now();
        restore_cache(&mut SyntheticCachePager::new(meta), &store, &digest)?;
        back.push(start.elapsed());
    }
    let bytes = 2 * pager.occupied_pages().len() * meta.page_bytes();
    println!("{}", json!({"bytes": bytes, "capture": times(out), "restore": times(back)}));
    Ok(())
}

fn times(mut all: Vec<Duration>) -> Value {
    all.sort();
    json!({"best_ns": all[0].as_nanos() as u64, "median_ns": all[all.len() / 2].as_nanos() as u64, "runs": all.len()})
}
