//! What a rank asks of the others, and how it tells them.

use std::fmt;

use super::CollectiveError;

/// What a rank asks of the others; they all must ask the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A sum.
    Sum {
        /// How many.
        values: usize,
    },
    /// A broadcast.
    Broadcast {
        /// How many.
        values: usize,
        /// Whose.
        root: usize,
    },
    /// A barrier.
    Barrier,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sum { values } => write!(f, "adds up {values} values"),
            Self::Broadcast { values, root } => write!(f, "takes {values} values from rank {root}"),
            Self::Barrier => f.write_str("waits for the others"),
        }
    }
}

impl Call {
    /// In numbers that all ranks understand: kind, values, root.
    pub(super) fn words(self) -> [u64; 3] {
        match self {
            Self::Sum { values } => [0, values as u64, 0],
            Self::Broadcast { values, root } => [1, values as u64, root as u64],
            Self::Barrier => [2, 0, 0],
        }
    }

    /// What rank `rank` sent as [`words`](Self::words).
    pub(super) fn of_words(rank: usize, words: [u64; 3]) -> Result<Self, CollectiveError> {
        let unknown = CollectiveError::OtherVersion { rank };
        let [kind, values, root] = words;
        let (Ok(values), Ok(root)) = (usize::try_from(values), usize::try_from(root)) else {
            return Err(unknown);
        };
        match kind {
            0 => Ok(Self::Sum { values }),
            1 => Ok(Self::Broadcast { values, root }),
            2 => Ok(Self::Barrier),
            _ => Err(unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn calls_survive_their_numbers(values: usize, root: usize) {
            for own in [Call::Sum { values }, Call::Broadcast { values, root }, Call::Barrier] {
                prop_assert_eq!(Call::of_words(0, own.words()), Ok(own));
            }
        }

        #[test]
        fn numbers_of_another_version_are_an_error(kind in 3u64.., rank: usize) {
            let error = CollectiveError::OtherVersion { rank };
            prop_assert_eq!(Call::of_words(rank, [kind, 1, 0]), Err(error));
        }
    }
}
