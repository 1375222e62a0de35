//! The allocator of every process of Waybill.
//!
//! jemalloc, as in Restate's own server: what ten thousand streams held goes back to
//! the system some seconds after they are closed, where the C library keeps half of
//! it for good (docs/benchmark.md has the figures). Its background threads do that
//! also while nothing is allocated.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;
