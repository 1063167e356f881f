//! Times ProcessFork's capture and restore, once, and prints lines of JSON for
//! kvferry's harness (bench/harness/peer.go).
//!
//!     pf-cache --dir DIR [--geometry P,L,H,D,DTYPE] [--pages N] [--data FILE] [--store memory,file] [--label TEXT]
//!
//! Without --data the pages are its own fixture's, a pseudo-random sequence;
//! with it they are the file's, each its K and then its V. It prints
//!
//!     op=capture/LABEL/store=pf-cache-STORE   bytes of K and V per second
//!     op=restore/LABEL/store=pf-cache-STORE
//!     op=ratio/LABEL/store=pf-cache-STORE     bytes of K and V to bytes of files, for the file store
//!
//! Its stores hash with SHA-256. The memory store compresses nothing and
//! does not hash on reading; the file store compresses with zstd level 19 and
//! syncs each file, but no folder.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use pf_cache::pager::PageBytes;
use pf_cache::{capture_cache, restore_cache, CacheMeta, CachePager, LogicalSeq, SyntheticCachePager};
use pf_core::cas::{BlobStore, FsBlobStore, MemBlobStore};
use serde_json::{json, Value};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const VERSION: &str = "pf-cache 1.0.15";

struct Flags {
    dir: PathBuf,
    meta: CacheMeta,
    pages: usize,
    data: Option<PathBuf>,
    stores: Vec<String>,
    label: String,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let flags = match flags(&args) {
        Ok(f) => f,
        Err(e) => {
            eprintln!("pf-cache: {e}; the arguments are in its source");
            return ExitCode::from(2);
        }
    };
    for store in &flags.stores {
        if let Err(e) = run(&flags, store) {
            say(json!({"name": name(&flags, "capture", store), "version": VERSION, "unit": "", "value": 0, "error": e.to_string()}));
        }
    }
    ExitCode::SUCCESS
}

fn flags(args: &[String]) -> Result<Flags> {
    let mut f = Flags {
        dir: PathBuf::new(),
        meta: geometry("8,4,4,8,bf16")?,
        pages: 64,
        data: None,
        stores: vec!["memory".into(), "file".into()],
        label: String::new(),
    };
    for pair in args.chunks(2) {
        let [key, value] = pair else { return Err(format!("{} has no value", pair[0]).into()) };
        match key.as_str() {
            "--dir" => f.dir = value.into(),
            "--geometry" => f.meta = geometry(value)?,
            "--pages" => f.pages = value.parse()?,
            "--data" => f.data = Some(value.into()),
            "--store" => f.stores = value.split(',').map(String::from).collect(),
            "--label" => f.label = value.clone(),
            _ => return Err(format!("unknown argument {key}").into()),
        }
    }
    if f.dir.as_os_str().is_empty() {
        return Err("--dir is missing".into());
    }
    Ok(f)
}

/// Parses `P,L,H,D,DTYPE`: page tokens, layers, heads, head dimension, element type.
fn geometry(text: &str) -> Result<CacheMeta> {
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

/// Makes the cache to capture.
fn source(f: &Flags) -> Result<SyntheticCachePager> {
    let mut pager = SyntheticCachePager::new(f.meta);
    let Some(path) = &f.data else {
        pager.populate_synthetic(f.pages.try_into()?, 0)?;
        return Ok(pager);
    };
    let (data, half) = (std::fs::read(path)?, f.meta.page_bytes());
    if data.len() < 2 * half * f.pages {
        return Err(format!("{} is shorter than {} pages", path.display(), f.pages).into());
    }
    let ixs = pager.allocate_pages(f.pages)?;
    for (&ix, page) in ixs.iter().zip(data.chunks_exact(2 * half)) {
        pager.write_page(ix, &PageBytes { k: page[..half].to_vec(), v: page[half..].to_vec() })?;
    }
    pager.install_logical_seqs(&[LogicalSeq { id: "bench".into(), page_ixs: ixs, fill_in_last_page: 0 }])?;
    Ok(pager)
}

fn run(f: &Flags, store: &str) -> Result<()> {
    match store {
        "memory" => time(f, store, &MemBlobStore::new(), "SHA-256, not compressed, does not hash on reading"),
        "file" => {
            let dir = f.dir.join(format!("pf-cache-{}", std::process::id()));
            let outcome = file(f, &dir);
            std::fs::remove_dir_all(&dir)?;
            outcome
        }
        _ => Err(format!("unknown store {store}").into()),
    }
}

fn file(f: &Flags, dir: &Path) -> Result<()> {
    time(f, "file", &FsBlobStore::open(dir)?, "zstd 19, SHA-256, fsync of each file and of no folder, read from the page cache")?;
    let plain = 2 * f.pages * f.meta.page_bytes();
    line(f, "ratio", "file", "x", plain as f64 / bytes_below(dir)? as f64, "zstd 19");
    Ok(())
}

/// Captures and restores once, and looks that the pages came back.
fn time(f: &Flags, store: &str, blobs: &dyn BlobStore, note: &str) -> Result<()> {
    let mut pager = source(f)?;
    let plain = (2 * f.pages * f.meta.page_bytes()) as f64;
    let start = Instant::now();
    let digest = capture_cache(&mut pager, blobs)?;
    line(f, "capture", store, "B/s", plain / start.elapsed().as_secs_f64(), note);
    let mut back = SyntheticCachePager::new(f.meta);
    let start = Instant::now();
    restore_cache(&mut back, blobs, &digest)?;
    let took = start.elapsed();
    for ix in pager.occupied_pages() {
        if pager.read_page(ix)? != back.read_page(ix)? {
            return Err(format!("page {ix} came back differently").into());
        }
    }
    line(f, "restore", store, "B/s", plain / took.as_secs_f64(), note);
    Ok(())
}

fn bytes_below(dir: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        total += if entry.file_type()?.is_dir() { bytes_below(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(total)
}

fn name(f: &Flags, op: &str, store: &str) -> String {
    let label = if f.label.is_empty() { String::new() } else { format!("{}/", f.label) };
    format!("op={op}/{label}store=pf-cache-{store}")
}

fn line(f: &Flags, op: &str, store: &str, unit: &str, value: f64, note: &str) {
    say(json!({"name": name(f, op, store), "version": VERSION, "unit": unit, "value": value, "note": note}));
}

fn say(v: Value) {
    println!("{v}");
}
