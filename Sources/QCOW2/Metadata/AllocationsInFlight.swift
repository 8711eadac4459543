/// The guest clusters that are being allocated: nobody else allocates, zeroes or discards them meanwhile.
struct AllocationsInFlight {
    private struct Run {
        let clusters: Range<UInt64>
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private var runs: [Run] = []

    /// How many clusters from `clusters.lowerBound` on are free of other allocations.
    func freePrefix(of clusters: Range<UInt64>) -> Range<UInt64> {
        var end = clusters.upperBound
        for run in runs where run.clusters.upperBound > clusters.lowerBound {
            end = min(end, max(run.clusters.lowerBound, clusters.lowerBound))
        }
        return clusters.lowerBound..<end
    }

    mutating func begin(_ clusters: Range<UInt64>) { runs.append(Run(clusters: clusters)) }

    /// Ends the allocation of exactly these clusters and lets those go on that waited for it.
    mutating func end(_ clusters: Range<UInt64>) {
        guard let index = runs.firstIndex(where: { $0.clusters == clusters }) else { return }
        let run = runs[index]
        runs.swapAt(index, runs.count - 1)
        runs.removeLast()
        for waiter in run.waiters { waiter.resume() }
    }

    /// Resumes `continuation` when some allocation that includes `cluster` has ended; at once when there is none.
    mutating func wait(for cluster: UInt64, _ continuation: CheckedContinuation<Void, Never>) {
        if let index = runs.firstIndex(where: { $0.clusters.contains(cluster) }) {
            runs[index].waiters.append(continuation)
        } else {
            continuation.resume()
        }
    }
}
