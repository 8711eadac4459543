import BlockStorage

extension PoolDriver {
    /// The drivers of this build: another pool joins by one line.
    public static let all: [PoolDriver] = []
}
