#![doc = include_str!("FORMAT.md")]

mod block;
mod decode;
mod encode;
mod pack;
#[cfg(test)]
mod tests;

pub(super) use decode::decode;
pub(super) use encode::Encoder;

/// Numbers of a block. A smaller one pays its header more often, a larger one fits changing widths less well; a position
/// in it fits a byte.
const BLOCK_LEN: usize = 128;

/// What the blocks hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Constant = 1,
    Steps = 2,
    StepsAboveMin = 3,
    Small = 4,
    AboveMin = 5,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        let all = [
            Self::Constant,
            Self::Steps,
            Self::StepsAboveMin,
            Self::Small,
            Self::AboveMin,
        ];
        all.into_iter().find(|&kind| kind as u8 == byte)
    }

    fn can_be_shifted(self) -> bool {
        match self {
            Self::Steps | Self::StepsAboveMin | Self::AboveMin => true,
            Self::Constant | Self::Small => false,
        }
    }
}

/// Flag beside the kind: a byte with a shift follows.
const SHIFTED: u8 = 0x08;
