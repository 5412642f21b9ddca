//! What the engine itself must get right before anything it says of the library counts: how the processor
//! tells that a result did not fit.

/// Any product that may overflow.
#[unsafe(no_mangle)]
extern "C" fn engine_multiplies(one: u64, other: u32) -> u64 {
    let exact = u128::from(one) * u128::from(other);
    match one.checked_mul(other.into()) {
        Some(product) => {
            assert!(u128::from(product) == exact);
            0
        }
        None => {
            assert!(exact > u128::from(u64::MAX));
            1
        }
    }
}

/// Any sum and any difference that may overflow.
#[unsafe(no_mangle)]
extern "C" fn engine_adds(one: u64, other: u64) -> u64 {
    let sum = one.checked_add(other);
    let difference = one.checked_sub(other);
    assert!(sum.is_some() == (one <= u64::MAX - other));
    assert!(difference.is_some() == (one >= other));
    assert!(sum.is_none_or(|sum| sum >= one && sum >= other));
    assert!(difference.is_none_or(|difference| difference <= one));
    u64::from(sum.is_some()) + 2 * u64::from(difference.is_some())
}

/// A quotient and its rest, by any divisor.
#[unsafe(no_mangle)]
extern "C" fn engine_divides(one: u32, other: u16) -> u64 {
    let (one, other) = (u64::from(one), u64::from(other));
    let (Some(quotient), Some(rest)) = (one.checked_div(other), one.checked_rem(other)) else {
        assert!(other == 0);
        return 1;
    };
    assert!(rest < other && quotient * other + rest == one);
    0
}

/// Where a number's highest bit is, and shifting it there.
#[unsafe(no_mangle)]
extern "C" fn engine_shifts(number: u64) -> u64 {
    if number == 0 {
        assert!(number.leading_zeros() == 64);
        return 1;
    }
    let top = 63 - number.leading_zeros();
    assert!(number >> top == 1 && number & (1 << top) != 0);
    0
}
