//! The clauses asked of explored states are those that are proved, by name and in order.

use dialback_proofs::invariant::CLAUSES;

const PROVED: &str = include_str!("../smt/invariant.py");

#[test]
fn the_clauses_are_those_of_the_proof() {
    let mut lines = PROVED.lines();
    let mut proved = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with("@clause(") {
            let function = lines.find(|line| line.starts_with("def "));
            let name = function.and_then(|line| line.strip_prefix("def ")?.split('(').next());
            proved.push(name.expect("a function below @clause"));
        }
    }
    let asked: Vec<&str> = CLAUSES.iter().map(|clause| clause.name).collect();
    assert_eq!(asked, proved);
}
