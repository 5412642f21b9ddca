//! What the code stands on when there is no system under it: memory, and an end for what must not happen.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::panic::PanicInfo;

/// The largest single allocation. No check gives the code more than 64 bytes, so this is above the
/// decoder's bound of twice the bytes received and 1 KiB, and far below any length that a header states.
const SLOT: usize = 1024 + 2 * 64;

/// Allocations in the course of one path.
const SLOTS: usize = 64;

#[repr(align(16))]
struct Arena(UnsafeCell<[u8; SLOT * SLOTS]>);

// One thread runs here, in the engine.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(UnsafeCell::new([0; SLOT * SLOTS]));

struct Used(UnsafeCell<usize>);

unsafe impl Sync for Used {}

static USED: Used = Used(UnsafeCell::new(0));

/// Gives every allocation a slot of the same size and takes none back. So addresses depend on how many
/// allocations came before and never on their sizes, which may be symbolic.
struct Slots;

#[global_allocator]
static SLOTS_IN_ORDER: Slots = Slots;

unsafe impl GlobalAlloc for Slots {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        assert!(layout.size() <= SLOT, "more memory than the input accounts for");
        unsafe {
            let slot = *USED.0.get();
            assert!(slot < SLOTS, "the harness has too few slots");
            *USED.0.get() = slot + 1;
            ARENA.0.get().cast::<u8>().add(slot * SLOT)
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}

    unsafe fn realloc(&self, place: *mut u8, _: Layout, size: usize) -> *mut u8 {
        assert!(size <= SLOT, "more memory than the input accounts for");
        place
    }
}

/// Where every panic ends: an assertion of a check, an overflow, an index out of bounds. The engine looks for it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn symex_panicked() -> ! {
    // A counterexample that is run without the engine ends here with a signal.
    unsafe { core::arch::asm!("ud2", options(noreturn)) }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    symex_panicked()
}

/// The memory functions as plain loops: the engine splits a path by the length where that is symbolic,
/// which its own models of these functions would not do.
mod memory {
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        for at in 0..count {
            unsafe { *to.add(at) = *from.add(at) };
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        if to.cast_const() <= from {
            return unsafe { memcpy(to, from, count) };
        }
        for at in (0..count).rev() {
            unsafe { *to.add(at) = *from.add(at) };
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
        for at in 0..count {
            unsafe { *to.add(at) = byte as u8 };
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, count: usize) -> i32 {
        for at in 0..count {
            let (one, other) = unsafe { (*one.add(at), *other.add(at)) };
            if one != other {
                return i32::from(one) - i32::from(other);
            }
        }
        0
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, count: usize) -> i32 {
        unsafe { memcmp(one, other, count) }
    }
}

/// The compiled core library names it; nothing unwinds here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
