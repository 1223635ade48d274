//! Disclosure of who writes to whom from rounds of which only the senders and the receivers are known.

/// One round: who sent and who got, once for each message.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// Senders.
    pub sent: Vec<u32>,
    /// Recipients, of cover too.
    pub got: Vec<u32>,
}

/// SDA: what recipients get in rounds with the target, less what they get without it, on average.
#[derive(Clone, Debug)]
pub struct Statistical {
    with: Vec<u32>,
    without: Vec<u32>,
    rounds: [u64; 2],
}

impl Statistical {
    /// Of so many recipients.
    pub fn new(recipients: usize) -> Self {
        Self {
            with: vec![0; recipients],
            without: vec![0; recipients],
            rounds: [0; 2],
        }
    }

    /// One more round, in which the target has sent or not.
    pub fn add(&mut self, active: bool, got: impl Iterator<Item = u32>) {
        self.rounds[usize::from(active)] += 1;
        let counts = if active {
            &mut self.with
        } else {
            &mut self.without
        };
        for to in got {
            if let Some(count) = counts.get_mut(to as usize) {
                *count += 1;
            }
        }
    }

    /// Of each recipient: the higher, the likelier it is a friend.
    pub fn scores(&self) -> Vec<f64> {
        let [without, with] = self.rounds.map(|n| n.max(1) as f64);
        let pairs = self.with.iter().zip(&self.without);
        pairs
            .map(|(a, b)| f64::from(*a) / with - f64::from(*b) / without)
            .collect()
    }
}

/// Reverse SDA's half: friends send more in rounds in which the target gets more. Covariances, by user.
pub(super) fn answers(users: usize, rounds: &[Round], target: u32) -> Vec<f64> {
    let n = rounds.len().max(1) as f64;
    let got = |r: &Round| r.got.iter().filter(|to| **to == target).count() as f64;
    let mean = rounds.iter().map(got).sum::<f64>() / n;
    let mut out = vec![0.0; users];
    for round in rounds {
        let more = got(round) - mean;
        for from in &round.sent {
            if let Some(sum) = out.get_mut(*from as usize) {
                *sum += more / n;
            }
        }
    }
    out
}

/// LSDA: everybody's profile by least squares, (UᵀU)⁻¹ Uᵀ Y with what each has sent in U and what each has got in Y.
#[derive(Clone, Debug)]
pub struct LeastSquares {
    users: usize,
    inverse: Vec<Vec<f64>>,
    cover: bool,
}

impl LeastSquares {
    /// From these rounds; with `cover`, one unknown more takes what no sender explains (and a little of the diagonal is
    /// raised, as it can be told from the senders only if rounds differ in size). `None` if the rounds do not
    /// tell the senders apart.
    pub fn of(rounds: &[Round], users: usize, cover: bool) -> Option<Self> {
        let size = users + usize::from(cover);
        let mut square = vec![vec![0.0; size]; size];
        for round in rounds {
            // A sum over pairs of messages is one over pairs of users, by how much each has sent.
            for a in &round.sent {
                for b in &round.sent {
                    square[*a as usize][*b as usize] += 1.0;
                }
                if cover {
                    square[*a as usize][users] += 1.0;
                    square[users][*a as usize] += 1.0;
                }
            }
            if cover {
                square[users][users] += 1.0;
            }
        }
        if cover {
            for (i, row) in square.iter_mut().enumerate() {
                row[i] += 1e-3;
            }
        }
        Some(Self {
            users,
            inverse: inverse(square)?,
            cover,
        })
    }

    /// How much of what a user sends goes to each recipient.
    pub fn profile(&self, rounds: &[Round], recipients: usize, user: usize) -> Vec<f64> {
        let weights = &self.inverse[user];
        let mut out = vec![0.0; recipients];
        for round in rounds {
            let sent = round.sent.iter().map(|u| weights[*u as usize]).sum::<f64>();
            let weight = sent + if self.cover { weights[self.users] } else { 0.0 };
            for to in &round.got {
                if let Some(sum) = out.get_mut(*to as usize) {
                    *sum += weight;
                }
            }
        }
        out
    }
}

/// Gauss and Jordan, by the largest pivot.
fn inverse(mut a: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    let n = a.len();
    let mut b: Vec<Vec<f64>> = (0..n)
        .map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect())
        .collect();
    for column in 0..n {
        let size = |i: &usize| a[*i][column].abs();
        let pivot = (column..n).max_by(|i, j| size(i).total_cmp(&size(j)))?;
        a.swap(column, pivot);
        b.swap(column, pivot);
        let by = a[column][column];
        if by.abs() < 1e-9 {
            return None;
        }
        for x in a[column].iter_mut().chain(b[column].iter_mut()) {
            *x /= by;
        }
        let (top, right) = (a[column].clone(), b[column].clone());
        for row in (0..n).filter(|row| *row != column) {
            let factor = a[row][column];
            if factor == 0.0 {
                continue;
            }
            for (x, t) in a[row].iter_mut().zip(&top) {
                *x -= factor * t;
            }
            for (x, t) in b[row].iter_mut().zip(&right) {
                *x -= factor * t;
            }
        }
    }
    Some(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inverse_inverts() {
        let a = vec![
            vec![0.0, 2.0, 1.0],
            vec![4.0, 1.0, 0.0],
            vec![1.0, 0.0, 3.0],
        ];
        let b = inverse(a.clone()).unwrap();
        for (i, row) in a.iter().enumerate() {
            for j in 0..3 {
                let x: f64 = row.iter().zip(&b).map(|(a, b)| a * b[j]).sum();
                assert!((x - f64::from(u8::from(i == j))).abs() < 1e-12);
            }
        }
        assert!(inverse(vec![vec![1.0, 1.0], vec![1.0, 1.0]]).is_none());
    }

    /// Without noise the profiles come out as they are.
    #[test]
    fn least_squares_finds_who_writes_to_whom() {
        let round = |sent: &[u32]| Round {
            sent: sent.to_vec(),
            got: sent.iter().map(|u| 2 - u).collect(),
        };
        let rounds = [round(&[0, 1]), round(&[1, 2]), round(&[0, 0, 2])];
        let squares = LeastSquares::of(&rounds, 3, false).unwrap();
        for user in 0..3 {
            for (to, share) in squares.profile(&rounds, 3, user).iter().enumerate() {
                let truth = f64::from(u8::from(to == 2 - user));
                assert!((share - truth).abs() < 1e-9, "{user} {to} {share}");
            }
        }
    }
}
