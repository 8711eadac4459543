#if ISCSI
    import BlockStorage

    extension ElementClient {
        /// A list that is asked for in parts, each from the number after the last one's.
        ///
        /// Throws `inputOutput` where the array repeats itself, gives more than `ElementOptions.largestList` or never ends.
        func pages<Page: Decodable & Sendable, Entry: Identifiable & Sendable>(
            _ method: String, _ startName: String, _ parameters: ElementParameters = [:],
            within time: Duration? = nil, entries: (Page) -> [Entry]
        ) async throws(StorageError) -> [Entry] where Entry.ID == Int64 {
            let limit = time ?? options.deadline
            let stopwatch = stopwatch()
            var all: [Entry] = []
            var start: Int64 = 0
            var parameters = parameters
            parameters["limit"] = .integer(Int64(options.pageSize))
            while true {
                parameters[startName] = .integer(start)
                let page: Page = try await call(method, parameters, within: max(.zero, limit - stopwatch.elapsed))
                let new = entries(page).sorted { $0.id < $1.id }
                guard let first = new.first, let last = new.last else { return all }
                guard first.id >= start, zip(new, new.dropFirst()).allSatisfy({ $0.id < $1.id }) else {
                    throw failure(
                        .inputOutput, method, "the array repeats an entry, or gives one that was not asked for")
                }
                guard all.count + new.count <= options.largestList else {
                    throw failure(.inputOutput, method, "the list has more than \(options.largestList) entries")
                }
                all += new
                // More than was asked for is everything: the array does not know parts.
                guard new.count == options.pageSize, last.id < .max else { return all }
                start = last.id + 1
            }
        }
    }
#endif
