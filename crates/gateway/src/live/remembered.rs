//! Answers of SQLite that many ask for, each good until news comes of what it is
//! about.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Answers by question, each with the [version](super::LiveState::version) of its
/// subject at which it was read.
#[derive(Debug)]
pub struct Remembered<K, V> {
    answers: Mutex<HashMap<K, (u64, V)>>,
    most: usize,
}

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    /// Room for so many answers. When there are more, all are forgotten.
    pub fn of(most: usize) -> Self {
        Self {
            answers: Mutex::default(),
            most,
        }
    }

    /// The answer at `version`, which is read unless it is remembered. Ask for the
    /// version before: what is read may be newer than it, and never older.
    pub async fn at<E>(
        &self,
        version: u64,
        question: K,
        read: impl AsyncFnOnce(&K) -> Result<V, E>,
    ) -> Result<V, E> {
        if let Some((of, answer)) = self.lock().get(&question)
            && *of == version
        {
            return Ok(answer.clone());
        }
        let answer = read(&question).await?;
        let mut answers = self.lock();
        if answers.len() >= self.most {
            answers.clear();
        }
        answers.insert(question, (version, answer.clone()));
        Ok(answer)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<K, (u64, V)>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    async fn asked(
        remembered: &Remembered<u32, u32>,
        version: u64,
        question: u32,
        now: u32,
    ) -> u32 {
        let read = async |_: &u32| Ok::<_, Infallible>(now);
        remembered.at(version, question, read).await.unwrap()
    }

    #[tokio::test]
    async fn an_answer_is_good_for_its_question_and_its_version() {
        let remembered = Remembered::of(10);
        assert_eq!(asked(&remembered, 1, 7, 70).await, 70);
        assert_eq!(asked(&remembered, 1, 7, 71).await, 70);
        assert_eq!(asked(&remembered, 1, 8, 80).await, 80);
        assert_eq!(asked(&remembered, 2, 7, 72).await, 72);
        // One that was read before news came, and is written down after it.
        assert_eq!(asked(&remembered, 1, 7, 70).await, 70);
        assert_eq!(asked(&remembered, 2, 7, 73).await, 73);
    }

    #[tokio::test]
    async fn what_could_not_be_read_is_asked_again() {
        let remembered = Remembered::<u32, u32>::of(10);
        let failed = remembered.at(1, 7, async |_: &u32| Err("gone")).await;
        assert_eq!(failed, Err("gone"));
        assert_eq!(asked(&remembered, 1, 7, 70).await, 70);
    }

    #[tokio::test]
    async fn answers_do_not_pile_up() {
        let remembered = Remembered::of(10);
        for question in 0..100 {
            asked(&remembered, 1, question, 0).await;
        }
        assert!(remembered.lock().len() <= 10);
    }
}
