//! Why each endpoint failed last: a cause that lasts is told once, however often it is met.

use super::error::EtcdError;

/// One cause for each endpoint, since the last success.
#[derive(Debug)]
pub struct Causes {
    last: Vec<Option<EtcdError>>,
}

impl Causes {
    pub fn of(endpoints: usize) -> Self {
        Causes { last: vec![None; endpoints] }
    }

    /// Whether that is news. The same with other numbers in it is none, and the first text stays.
    pub fn add(&mut self, endpoint: usize, why: &EtcdError) -> bool {
        match self.last.get_mut(endpoint) {
            Some(Some(last)) if last.is_like(why) => false,
            Some(last) => {
                *last = Some(why.clone());
                true
            }
            None => true,
        }
    }

    /// Something has worked: what fails now is news again.
    pub fn forget(&mut self) {
        self.last.fill(None);
    }

    /// In the order of the endpoints.
    pub fn each(&self) -> impl Iterator<Item = Option<&EtcdError>> {
        self.last.iter().map(Option::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_news_once_at_each_endpoint_until_something_works() {
        let older = |found| EtcdError::OlderRevision { expected: 90, found };
        let mut causes = Causes::of(2);
        assert!(causes.add(0, &older(10)) && causes.add(1, &EtcdError::NoLeader));
        assert!(!causes.add(0, &older(11)) && !causes.add(1, &EtcdError::NoLeader));
        assert!(causes.each().eq([Some(&older(10)), Some(&EtcdError::NoLeader)]));
        assert!(causes.add(0, &EtcdError::NoLeader));
        causes.forget();
        assert!(causes.add(0, &EtcdError::NoLeader));
    }
}
