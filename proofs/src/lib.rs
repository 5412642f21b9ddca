//! Exhaustive exploration of dialback's machines, and what ties its other proofs to the code.
