//! The process's memory comes from mimalloc, asked for as C asks for it.
//!
//! The crate of that name asks for every block with its alignment, and mimalloc answers such a request with
//! a larger block unless one that happens to fit lies ready, though its blocks are aligned for any type
//! of at most 16 bytes anyway. That costs time with every connection, and memory for as long as it idles.

use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc, mi_zalloc_aligned,
};
use std::alloc::{GlobalAlloc, Layout};

pub struct Mimalloc;

/// Every block of at least this size is aligned to it.
const NATURAL: usize = 16;

const fn is_natural(align: usize, size: usize) -> bool {
    align <= NATURAL && align <= size
}

#[allow(unsafe_code)]
// SAFETY: each call is mimalloc's own of the same meaning. A block without a stated alignment is aligned to the
// largest power of two up to 16 that is no larger than its size, as malloc's is.
unsafe impl GlobalAlloc for Mimalloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: any size and any power of two may be asked for.
        unsafe { if is_natural(align, size) { mi_malloc(size) } else { mi_malloc_aligned(size, align) }.cast() }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: as above.
        unsafe { if is_natural(align, size) { mi_zalloc(size) } else { mi_zalloc_aligned(size, align) }.cast() }
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller says that `block` came from here.
        unsafe { mi_free(block.cast()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let align = layout.align();
        // SAFETY: the caller says that `block` came from here, with this alignment.
        unsafe {
            let block = block.cast();
            if is_natural(align, size) { mi_realloc(block, size) } else { mi_realloc_aligned(block, size, align) }
                .cast()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_as_they_were_asked_for() {
        for align in [1, 2, 4, 8, 16, 32, 64, 4096] {
            for size in (1..200).chain([327, 1000, 5000, 100_000]) {
                let layout = Layout::from_size_align(size, align).unwrap();
                let blocks: Vec<*mut u8> = (0..50).map(|_| alloc(layout)).collect();
                for block in blocks {
                    assert!(block.addr().is_multiple_of(align), "{size} bytes to {align}: {block:?}");
                    let grown = grow(block, layout, size * 3);
                    assert!(grown.addr().is_multiple_of(align), "{size} bytes to {align}, grown: {grown:?}");
                    free(grown, Layout::from_size_align(size * 3, align).unwrap());
                }
            }
        }
    }

    #[allow(unsafe_code)]
    fn alloc(layout: Layout) -> *mut u8 {
        // SAFETY: no layout of the test is empty.
        let (plain, zeroed) = unsafe { (Mimalloc.alloc(layout), Mimalloc.alloc_zeroed(layout)) };
        assert!(zeroed.addr().is_multiple_of(layout.align()));
        free(zeroed, layout);
        plain
    }

    #[allow(unsafe_code)]
    fn grow(block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the block came from `alloc` with this layout.
        unsafe { Mimalloc.realloc(block, layout, size) }
    }

    #[allow(unsafe_code)]
    fn free(block: *mut u8, layout: Layout) {
        // SAFETY: as above, and it is not used again.
        unsafe { Mimalloc.dealloc(block, layout) }
    }
}
