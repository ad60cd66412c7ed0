//! Delta debugging (Zeller and Hildebrandt 2002): which parts can go, in few tests.

/// Which of `parts` parts are gone in the end. `can_go` says whether those marked can go together; what it accepted once stays
/// gone. Begins with large runs of parts, and halves these when none can go any more. No single part that is left can go.
pub(super) fn smallest<E>(parts: usize, mut can_go: impl FnMut(&[bool]) -> Result<bool, E>) -> Result<Vec<bool>, E> {
    let mut gone = vec![false; parts];
    let mut run = parts;
    while run > 0 {
        let mut went = false;
        let left: Vec<usize> = (0..parts).filter(|part| !gone[*part]).collect();
        // The last parts first: of a conversation, these are what the answer depends on most, so they are tried while much is
        // left.
        for chunk in left.rchunks(run) {
            let mut tried = gone.clone();
            chunk.iter().for_each(|part| tried[*part] = true);
            if can_go(&tried)? {
                gone = tried;
                went = true;
            }
        }
        if !(went && run == 1) {
            run /= 2;
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// The parts left where `needed` have to stay, and the number of tests.
    fn left(parts: usize, needed: &[usize]) -> (Vec<usize>, usize) {
        let mut tests = 0;
        let gone = smallest(parts, |gone| {
            tests += 1;
            Ok::<_, Infallible>(needed.iter().all(|part| !gone[*part]))
        });
        ((0..parts).zip(gone.unwrap()).filter(|(_, gone)| !gone).map(|(part, _)| part).collect(), tests)
    }

    #[test]
    fn what_is_needed_is_left_and_nothing_else() {
        assert_eq!(left(0, &[]).0, [0; 0]);
        for (parts, needed) in [(1, &[0][..]), (1, &[]), (7, &[0, 6]), (100, &[41]), (100, &[3, 40, 41, 99])] {
            assert_eq!(left(parts, needed).0, needed);
        }
        assert!(left(1000, &[500]).1 < 50 && left(1000, &[]).1 <= 2);
    }
}
