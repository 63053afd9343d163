//! Values of flags, from text.

use std::str::FromStr;

use vrt_video::Ratio;

/// Two numbers with a comma between them: frames, and rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FramesAndSize {
    pub(crate) frames: usize,
    pub(crate) size: usize,
}

impl FromStr for FramesAndSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once(',').and_then(|(frames, size)| {
            Some(Self { frames: frames.trim().parse().ok()?, size: size.trim().parse().ok()? })
        });
        numbers.ok_or_else(|| format!("{text:?} is not FRAMES,SIZE; write for example 12,256"))
    }
}

/// `--tile`: sizes, or `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tile {
    Auto,
    Sizes(FramesAndSize),
}

impl FromStr for Tile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            sizes => sizes.parse().map(Self::Sizes).map_err(|e| format!("{e}, 0,0 or auto")),
        }
    }
}

/// Width and height: `192x108`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sides = text.split_once(['x', 'X', '×']);
        let sides = sides.and_then(|(width, height)| {
            Some(Self { width: width.trim().parse().ok()?, height: height.trim().parse().ok()? })
        });
        sides.ok_or_else(|| format!("{text:?} is no size; write width and height as 192x108"))
    }
}

/// A number of bytes: plain, or with K, M, G or T (and `iB` or `B` behind it) for powers of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no amount of memory; write for example 4G or 512M");
        let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim().to_ascii_lowercase();
        let power = match unit.trim_end_matches('b').trim_end_matches('i') {
            "" if unit.is_empty() || unit == "b" => 0,
            "k" => 10,
            "m" => 20,
            "g" => 30,
            "t" => 40,
            _ => return Err(wrong()),
        };
        let bytes = number.parse::<f64>().map_err(|_| wrong())? * (1_u64 << power) as f64;
        if bytes < 1.0 || bytes > u64::MAX as f64 {
            return Err(wrong());
        }
        Ok(Self(bytes as u64))
    }
}

/// Frames per second: `25`, `23.976` or `24000/1001`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) Ratio);

/// Denominator that decimal rates are kept with.
const DECIMALS: u32 = 1000;

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ratio = match text.split_once('/') {
            Some((above, below)) => {
                let (above, below) = (above.parse().ok(), below.parse().ok());
                above.zip(below).map(|(numerator, denominator)| Ratio { numerator, denominator })
            }
            None => text.parse::<f64>().ok().and_then(decimal),
        };
        let ratio = ratio.filter(|ratio| ratio.numerator > 0 && ratio.denominator > 0);
        let wrong = || format!("{text:?} is no frame rate; write for example 25 or 24000/1001");
        ratio.map(Self).ok_or_else(wrong)
    }
}

fn decimal(rate: f64) -> Option<Ratio> {
    let thousandths = (rate * f64::from(DECIMALS)).round();
    if !(1.0..=f64::from(u32::MAX)).contains(&thousandths) {
        return None;
    }
    let numerator = thousandths as u32;
    Some(match numerator.is_multiple_of(DECIMALS) {
        true => Ratio { numerator: numerator / DECIMALS, denominator: 1 },
        false => Ratio { numerator, denominator: DECIMALS },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for text in ["192x108", "192X108", "192 × 108"] {
            assert_eq!(text.parse(), Ok(Size { width: 192, height: 108 }), "{text}");
        }
        for text in ["", "192", "x108", "192x", "-1x5", "1x2x3"] {
            assert!(text.parse::<Size>().unwrap_err().contains("192x108"), "{text}");
        }
    }

    #[test]
    fn amounts_of_memory_are_read() {
        for (text, bytes) in [
            ("1", 1),
            ("4096B", 4096),
            ("4G", 4 << 30),
            ("512M", 512 << 20),
            ("512MiB", 512 << 20),
            ("3KiB", 3 << 10),
            ("3kb", 3 << 10),
            ("1.5G", 3 << 29),
            ("2 T", 2 << 40),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "G", "4X", "-1", "0", "1e3", "4GG", "i", "4i", "99999999999T", "1.2.3G"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn tiles_are_read() {
        let sizes = FramesAndSize { frames: 12, size: 256 };
        assert_eq!("12,256".parse(), Ok(Tile::Sizes(sizes)));
        assert_eq!("12, 256".parse(), Ok(sizes));
        assert_eq!("auto".parse(), Ok(Tile::Auto));
        for text in ["", "12", "12,", ",256", "12,256,3", "a,b", "-1,2", "Auto"] {
            assert!(text.parse::<Tile>().is_err(), "{text}");
        }
    }

    #[test]
    fn frame_rates_are_read() {
        let rate = |numerator, denominator| Ok(Rate(Ratio { numerator, denominator }));
        assert_eq!("25".parse(), rate(25, 1));
        assert_eq!("24000/1001".parse(), rate(24000, 1001));
        assert_eq!("23.976".parse(), rate(23976, 1000));
        for text in ["", "0", "x", "25/0", "0/1", "-5", "1e300", "nan", "25/"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
