import IORuntime

extension RawSpan {
    /// The runs of data and of zeros, in order, told apart in units of `granularity` bytes.
    package func runs(granularity: Int) -> [(range: Range<Int>, isData: Bool)] {
        var runs: [(range: Range<Int>, isData: Bool)] = []
        var start = 0
        while start < byteCount {
            let end = min(byteCount, start + granularity)
            let isData = !extracting(start..<end).isZero
            if let last = runs.last, last.isData == isData {
                runs[runs.count - 1].range = last.range.lowerBound..<end
            } else {
                runs.append((start..<end, isData))
            }
            start = end
        }
        return runs
    }
}
