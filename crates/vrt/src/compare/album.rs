//! The pictures of a page: which frames, and how many bytes.

use std::num::NonZeroUsize;

use super::CompareError;

/// The share of the room that is planned with: pictures differ in size.
const PLANNED_SHARE: f64 = 0.95;

/// The most frames that are chosen beforehand: a stated length may be any number.
const MOST_PLANNED: u64 = 1 << 20;

/// Frame *n* of each clip, as it is written in a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pictures {
    /// *n*.
    pub(super) frame: u64,
    /// A `data:` URL a clip.
    pub(super) urls: Vec<String>,
}

impl Pictures {
    fn bytes(&self) -> u64 {
        self.urls.iter().map(|url| url.len() as u64).sum()
    }
}

/// The frames that are kept; never more bytes than allowed are held.
#[derive(Debug)]
pub(super) struct Album {
    picks: Picks,
    most: NonZeroUsize,
    max_bytes: u64,
    bytes: u64,
    held: Vec<Pictures>,
    /// Frames were left out because there was no room for them.
    crowded: bool,
}

impl Album {
    /// For at most `most` frames and `max_bytes` bytes, of clips that have `total` frames.
    pub(super) fn new(most: NonZeroUsize, max_bytes: u64, total: Option<u64>) -> Self {
        let picks = match total {
            Some(total) if total.min(most.get() as u64) <= MOST_PLANNED => {
                Picks::Planned(evenly(total, most))
            }
            _ => Picks::Every(1),
        };
        Self { picks, most, max_bytes, bytes: 0, held: Vec::new(), crowded: false }
    }

    /// Whether the pictures of this frame are wanted.
    pub(super) fn wants(&self, frame: u64) -> bool {
        self.picks.wants(frame)
    }

    /// Takes pictures of a frame that is wanted; later frames have higher numbers.
    pub(super) fn add(&mut self, pictures: Pictures) -> Result<(), CompareError> {
        let needed = pictures.bytes();
        if needed > self.max_bytes {
            return Err(CompareError::NoRoom { needed, allowed: self.max_bytes });
        }
        if self.held.is_empty() {
            self.plan(needed);
        }
        self.bytes += needed;
        self.held.push(pictures);
        while self.bytes > self.max_bytes {
            self.crowded = true;
            self.thin();
        }
        // Twice as many as wanted are held, so that those that stay can be spaced evenly.
        let most_held = self.most.get().saturating_mul(2);
        if matches!(self.picks, Picks::Every(_)) && self.held.len() >= most_held {
            self.thin();
        }
        Ok(())
    }

    /// Fewer frames from the start on, if the first one is so large that not all will fit.
    fn plan(&mut self, first: u64) {
        let Picks::Planned(frames) = &mut self.picks else {
            return;
        };
        let fits = (self.max_bytes as f64 * PLANNED_SHARE / first.max(1) as f64) as usize;
        let fits = NonZeroUsize::new(fits).unwrap_or(NonZeroUsize::MIN);
        if let Some(last) = frames.last().copied().filter(|_| fits.get() < frames.len()) {
            *frames = evenly(last + 1, fits);
            self.crowded = true;
        }
    }

    fn thin(&mut self) {
        self.picks.thin();
        self.held.retain(|pictures| self.picks.wants(pictures.frame));
        self.bytes = self.held.iter().map(Pictures::bytes).sum();
    }

    /// The frames that were kept, and whether room was short.
    pub(super) fn finish(self) -> (Vec<Pictures>, bool) {
        let chosen = evenly(self.held.len() as u64, self.most);
        let held = self.held.into_iter().enumerate();
        let held = held.filter(|(place, _)| chosen.binary_search(&(*place as u64)).is_ok());
        (held.map(|(_, pictures)| pictures).collect(), self.crowded)
    }
}

/// Which frames are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Picks {
    /// These, in order.
    Planned(Vec<u64>),
    /// Every so many: the length of the clips is not known.
    Every(u64),
}

impl Picks {
    fn wants(&self, frame: u64) -> bool {
        match self {
            Self::Planned(frames) => frames.binary_search(&frame).is_ok(),
            Self::Every(stride) => frame.is_multiple_of(*stride),
        }
    }

    /// Every second one of what was wanted; the first stays.
    fn thin(&mut self) {
        match self {
            Self::Planned(frames) => {
                let kept = frames.iter().copied().step_by(2);
                *frames = kept.collect();
            }
            Self::Every(stride) => *stride = stride.saturating_mul(2),
        }
    }
}

/// At most `most` of `total` frames, evenly spaced, with the first and the last among them.
fn evenly(total: u64, most: NonZeroUsize) -> Vec<u64> {
    let most = most.get() as u64;
    if total <= most {
        return (0..total).collect();
    }
    if most == 1 {
        return vec![0];
    }
    let place = |at: u64| {
        let (at, last, gaps) = (u128::from(at), u128::from(total - 1), u128::from(most - 1));
        ((2 * at * last + gaps) / (2 * gaps)) as u64
    };
    (0..most).map(place).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count(frames: usize) -> NonZeroUsize {
        NonZeroUsize::new(frames).unwrap()
    }

    fn pictures(frame: u64, bytes: usize) -> Pictures {
        Pictures { frame, urls: vec!["x".repeat(bytes / 2), "y".repeat(bytes - bytes / 2)] }
    }

    /// The frames that stay of `total`, each of so many bytes.
    fn kept(album: Album, total: u64, bytes: impl Fn(u64) -> usize) -> (Vec<Pictures>, bool) {
        let mut album = album;
        for frame in 0..total {
            if album.wants(frame) {
                album.add(pictures(frame, bytes(frame))).unwrap();
                assert!(album.bytes <= album.max_bytes);
            }
        }
        album.finish()
    }

    fn frames(pictures: &[Pictures]) -> Vec<u64> {
        pictures.iter().map(|it| it.frame).collect()
    }

    #[test]
    fn frames_are_spaced_evenly() {
        assert_eq!(evenly(5, count(9)), [0, 1, 2, 3, 4]);
        assert_eq!(evenly(100, count(1)), [0]);
        assert_eq!(evenly(101, count(5)), [0, 25, 50, 75, 100]);
        assert_eq!(evenly(0, count(3)), [0u64; 0]);
        assert_eq!(evenly(u64::MAX, count(3)), [0, u64::MAX / 2, u64::MAX - 1]);
    }

    #[test]
    fn large_pictures_are_fewer_and_still_span_the_clip() {
        let album = Album::new(count(24), 1000, Some(120));
        let (held, crowded) = kept(album, 120, |_| 100);
        assert!(crowded);
        assert_eq!(frames(&held), [0, 15, 30, 45, 60, 74, 89, 104, 119]);
    }

    #[test]
    fn numbers_beyond_any_clip_take_no_memory() {
        for stated in [None, Some(u64::MAX)] {
            let album = Album::new(NonZeroUsize::MAX, 1000, stated);
            let (held, crowded) = kept(album, 7, |_| 100);
            assert!(!crowded, "{stated:?}");
            assert_eq!(frames(&held), [0, 1, 2, 3, 4, 5, 6], "{stated:?}");
        }
    }

    #[test]
    fn one_frame_that_does_not_fit_is_an_error() {
        let mut album = Album::new(count(2), 99, Some(3));
        let added = album.add(pictures(0, 100));
        assert!(matches!(added, Err(CompareError::NoRoom { needed: 100, allowed: 99 })));
    }

    proptest! {
        #[test]
        fn whatever_comes_there_is_room_and_frames_are_in_order(
            total in 1u64..300,
            most in 1usize..30,
            stated in prop::option::of(-20i64..20),
            max_bytes in 100u64..3000,
            growth in 0u64..3,
        ) {
            // A length that is stated need not be true.
            let stated = stated.map(|off| total.saturating_add_signed(off).max(1));
            let album = Album::new(count(most), max_bytes, stated);
            let (held, crowded) = kept(album, total, |frame| (10 + (growth * frame) % 90) as usize);
            let bytes: u64 = held.iter().map(Pictures::bytes).sum();
            prop_assert!(bytes <= max_bytes);
            prop_assert!(!held.is_empty() && held.len() <= most);
            prop_assert_eq!(held[0].frame, 0);
            prop_assert!(held.is_sorted_by(|a, b| a.frame < b.frame));
            if !crowded && stated == Some(total) {
                prop_assert_eq!(frames(&held), evenly(total, count(most)));
            }
        }

        #[test]
        fn without_a_stated_length_gaps_differ_by_no_more_than_a_stride(
            total in 1u64..500,
            most in 2usize..30,
        ) {
            let album = Album::new(count(most), 1 << 20, None);
            let held = frames(&kept(album, total, |_| 10).0);
            prop_assert!(held.len() as u64 >= total.min(most as u64) - 1);
            let gaps = held.windows(2).map(|pair| pair[1] - pair[0]);
            let (least, greatest) = (gaps.clone().min().unwrap_or(1), gaps.max().unwrap_or(1));
            prop_assert!(greatest <= 2 * least, "{:?}", held);
        }
    }
}
