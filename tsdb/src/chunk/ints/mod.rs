#![doc = include_str!("FORMAT.md")]

mod block;
mod classes;
mod code;
mod decode;
mod encode;
mod pack;
#[cfg(test)]
mod tests;

pub(super) use decode::decode;
pub(super) use encode::{Effort, Encoder};
pub(crate) use pack::unpack;

/// Numbers of a block. A smaller one pays its header more often, a larger one fits changing widths less well; a position
/// in it fits a byte.
pub(crate) const BLOCK_LEN: usize = 128;

/// What is stored instead of the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Constant = 1,
    Steps = 2,
    StepsAboveMin = 3,
    Level = 4,
    LevelAboveMin = 5,
    StepsOfSteps = 6,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        let all = [
            Self::Constant,
            Self::Steps,
            Self::StepsAboveMin,
            Self::Level,
            Self::LevelAboveMin,
            Self::StepsOfSteps,
        ];
        all.into_iter().find(|&kind| kind as u8 == byte)
    }

    /// Tells whether a first number comes before what is stored.
    fn has_first(self) -> bool {
        match self {
            Self::Steps | Self::StepsAboveMin | Self::StepsOfSteps => true,
            Self::Constant | Self::Level | Self::LevelAboveMin => false,
        }
    }
}

/// Flag beside the kind: a byte with a shift follows.
const SHIFTED: u8 = 0x08;

/// Flag beside the kind: what is stored is coded by its classes, not packed in blocks.
const CODED: u8 = 0x10;
